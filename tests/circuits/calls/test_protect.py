"""``circuits.protect``: a function, sync or async, whose calls go through a circuit."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from inspect import iscoroutinefunction, signature
from typing import Any, cast

import pytest
import requests
from asgiref.sync import sync_to_async
from django.db import connections
from django.test.utils import CaptureQueriesContext

import circuits
from circuits.models import Circuit
from circuits.process import threads
from circuits.process.threads import in_thread
from tests.clock import Clock
from tests.factories import CircuitFactory
from tests.remotes import answer, remote_that

pytestmark = pytest.mark.usefixtures("committed")


class RemoteError(Exception):
    pass


def row() -> Any:
    return Circuit.objects.get(name="payments")


async def arow() -> Any:
    return await in_thread(row)


@circuits.protect("payments")
def divide(dividend: int, *, by: int) -> int:
    """Divide, and fail for 0."""
    return dividend // by


@circuits.protect("payments")
async def adivide(dividend: int, *, by: int) -> int:
    """Divide, and fail for 0."""
    await asyncio.sleep(0)
    return dividend // by


# The function


def test_arguments_go_in_and_the_value_comes_out() -> None:
    assert divide(7, by=2) == 3


async def test_async_arguments_go_in_and_the_value_comes_out() -> None:
    assert await adivide(7, by=2) == 3


@pytest.mark.parametrize("function", [divide, adivide])
def test_it_stays_the_function_it_was(function: Callable[..., Any]) -> None:
    assert function.__name__ in ("divide", "adivide")
    assert (function.__module__, function.__doc__) == (__name__, "Divide, and fail for 0.")
    assert list(signature(function).parameters) == ["dividend", "by"]
    assert iscoroutinefunction(function) is (function is adivide)


def test_with_a_fallback_it_stays_the_function_it_was_too() -> None:
    @circuits.protect("payments", fallback=lambda error: 0)
    async def balance() -> int:
        """Ask for the balance."""
        return 1

    assert iscoroutinefunction(balance)
    assert (balance.__name__, balance.__doc__) == ("balance", "Ask for the balance.")


def test_the_exception_goes_through_untouched_and_counts() -> None:
    error = RemoteError()

    @circuits.protect("payments")
    def call() -> None:
        raise error

    with pytest.raises(RemoteError) as raised:
        call()
    assert raised.value is error
    assert (error.__cause__, error.__context__) == (None, None)
    assert row().total_failures == 1


async def test_async_the_exception_goes_through_untouched_and_counts() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        await adivide(1, by=0)
    assert (raised.value.__cause__, raised.value.__context__) == (None, None)
    assert (await arow()).total_failures == 1


def test_a_success_clears_the_count() -> None:
    CircuitFactory(name="payments", failure_count=3)
    divide(1, by=1)
    assert row().failure_count == 0


async def test_async_a_success_clears_the_count() -> None:
    await in_thread(lambda: CircuitFactory(name="payments", failure_count=3))
    await adivide(1, by=1)
    assert (await arow()).failure_count == 0


def test_a_refused_call_does_not_reach_the_function() -> None:
    CircuitFactory(name="payments", opened=True)
    with pytest.raises(circuits.CircuitOpenError):
        divide(1, by=0)


async def test_async_a_refused_call_does_not_reach_the_function() -> None:
    await in_thread(lambda: CircuitFactory(name="payments", opened=True))
    with pytest.raises(circuits.CircuitOpenError):
        await adivide(1, by=0)


def test_only_the_exceptions_named_count() -> None:
    @circuits.protect("payments", exceptions=RemoteError)
    def call(error: Exception) -> None:
        raise error

    for error in (ValueError(), RemoteError()):
        with pytest.raises(type(error)):
            call(error)
    assert row().total_failures == 1


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, CancelledError])
def test_an_interruption_gives_the_place_of_a_trial_back(interruption: type[BaseException]) -> None:
    @circuits.protect("payments", fallback=lambda error: None)
    def call() -> None:
        raise interruption

    CircuitFactory(name="payments", expired=True)
    with pytest.raises(interruption):
        call()
    assert (row().state, row().leases, row().total_failures) == ("half_open", [], 0)


async def test_async_a_cancelled_call_gives_the_place_of_a_trial_back() -> None:
    began = asyncio.Event()

    @circuits.protect("payments", fallback=lambda error: None)
    async def call() -> None:
        began.set()
        await asyncio.Event().wait()

    await in_thread(lambda: CircuitFactory(name="payments", expired=True))
    task = asyncio.create_task(call())
    await began.wait()
    task.cancel()
    with pytest.raises(CancelledError):
        await task
    after = await arow()
    assert (after.state, after.leases, after.total_failures) == ("half_open", [], 0)


# Functions of all kinds


def test_methods() -> None:
    class Client:
        def __init__(self, answer: int) -> None:
            self.answer = answer

        @circuits.protect("payments")
        def ask(self, more: int) -> int:
            return self.answer + more

        @classmethod
        @circuits.protect("payments")
        def made(cls) -> Client:
            return cls(1)

        @staticmethod
        @circuits.protect("payments")
        def name() -> str:
            return "client"

    assert Client(40).ask(2) == 42
    assert Client.made().answer == 1
    assert Client.name() == "client"
    circuits.flush()
    assert row().total_successes == 3


def test_a_function_that_calls_itself() -> None:
    @circuits.protect("payments")
    def count_down(number: int) -> int:
        return 0 if number == 0 else count_down(number - 1)

    assert count_down(10) == 0
    circuits.flush()
    assert row().total_successes == 1, "the calls inside ride on the outermost one"


NO_GENERATOR = (
    r"^protect cannot decorate the generator .*pages; use `with circuits\.guard\('payments'\):` "
    r"inside it\.$"
)


def test_generators_are_refused() -> None:
    def pages() -> Iterator[int]:
        yield 1

    async def apages() -> AsyncIterator[int]:
        yield 1

    for function in (pages, apages):
        with pytest.raises(TypeError, match=NO_GENERATOR):
            circuits.protect("payments")(function)


async def test_a_sync_function_made_async_is_waited_for() -> None:
    async_divide = circuits.protect("payments")(sync_to_async(divide.__wrapped__))  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError):
        await async_divide(1, by=0)
    assert (await arow()).total_failures == 1


@pytest.mark.parametrize("name", ["", "x" * 101, "pay\nments", None])
def test_a_name_that_cannot_be_a_circuits_is_refused_at_once(name: Any) -> None:
    with pytest.raises(circuits.InvalidInputError, match="name"):
        circuits.protect(name)


# Fallback


def test_the_fallback_gets_the_original_exception_and_the_failure_counts() -> None:
    given: list[Exception] = []

    def fallback(error: Exception) -> str:
        given.append(error)
        return "from the cache"

    @circuits.protect("payments", fallback)
    def call() -> str:
        raise RemoteError

    assert call() == "from the cache"
    assert [type(error) for error in given] == [RemoteError]
    assert row().total_failures == 1


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_async_the_fallback_may_be_sync_or_async(kind: str) -> None:
    async def afallback(error: Exception) -> str:
        await asyncio.sleep(0)
        return f"instead of {type(error).__name__}"

    def fallback(error: Exception) -> str:
        return f"instead of {type(error).__name__}"

    @circuits.protect("payments", fallback if kind == "def" else afallback)
    async def call() -> str:
        raise RemoteError

    assert await call() == "instead of RemoteError"
    assert (await arow()).total_failures == 1


def test_the_fallback_stands_in_for_a_refused_call() -> None:
    @circuits.protect("payments", fallback=str)
    def call() -> str:
        raise AssertionError("the call was made")

    CircuitFactory(name="payments", opened=True)
    assert call().startswith("Retry after ")


async def test_async_the_fallback_stands_in_for_a_refused_call() -> None:
    @circuits.protect("payments", fallback=str)
    async def call() -> str:
        raise AssertionError("the call was made")

    await in_thread(lambda: CircuitFactory(name="payments", opened=True))
    assert (await call()).startswith("Retry after ")


def test_the_fallback_is_not_for_what_is_no_failure() -> None:
    @circuits.protect("payments", fallback=str, exceptions=RemoteError)
    def call() -> str:
        raise ValueError("a mistake of the caller")

    with pytest.raises(ValueError, match="a mistake of the caller"):
        call()


def test_the_fallback_is_not_for_an_answer_of_the_remote() -> None:
    CircuitFactory(name="payments", failure_statuses="410-599")

    @circuits.protect("payments", fallback=lambda error: "instead")
    def ask(url: str) -> None:
        requests.get(url, timeout=5).raise_for_status()

    with remote_that(lambda request: answer(int(request.target[1:]))) as remote:
        assert cast(Any, ask)(f"{remote.url}/410") == "instead"
        with pytest.raises(requests.HTTPError):
            ask(f"{remote.url}/409")
    assert (row().total_failures, row().failure_count) == (1, 0)


async def test_async_the_fallback_is_not_for_what_is_no_failure() -> None:
    @circuits.protect("payments", fallback=str, exceptions=RemoteError)
    async def call() -> str:
        raise ValueError("a mistake of the caller")

    with pytest.raises(ValueError, match="a mistake of the caller"):
        await call()


# The hot path


def test_a_call_on_a_fresh_snapshot_adds_no_query(clock: Clock) -> None:
    divide(1, by=1)
    with (
        CaptureQueriesContext(connections["default"]) as site,
        CaptureQueriesContext(connections["circuits"]) as own,
    ):
        for _ in range(10):
            divide(1, by=1)
    assert (len(site), len(own)) == (0, 0)


async def test_async_a_call_on_a_fresh_snapshot_asks_no_thread(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await adivide(1, by=1)
    monkeypatch.setattr(threads, "in_thread", None)
    for _ in range(10):
        assert await adivide(1, by=1) == 1


# What is decorated


class Client:
    """A client of a library, with some methods that go through the circuit."""

    rate = 2

    @circuits.protect("payments")
    @classmethod
    def convert(cls, amount: int) -> float:
        return amount / cls.rate

    @circuits.protect("payments")
    @staticmethod
    def halve(amount: int) -> float:
        return amount / 0

    async def __call__(self) -> None:
        await asyncio.sleep(0)
        raise RemoteError


def test_methods_of_a_class_may_be_decorated_from_above() -> None:
    assert Client.convert(4) == Client().convert(4) == 2
    with pytest.raises(ZeroDivisionError):
        Client.halve(4)
    assert (row().failure_count, row().last_error) == (1, "ZeroDivisionError: division by zero")


def test_a_property_is_refused() -> None:
    sentence = (
        r"^protect decorates a function, not a property; put @circuits\.protect\('payments'\) "
        r"below the other decorator\.$"
    )
    with pytest.raises(TypeError, match=sentence):
        circuits.protect("payments")(property(lambda self: 1))  # type: ignore[arg-type]


async def fetch(order: int = 0) -> None:
    await asyncio.sleep(0)
    raise RemoteError


AWAITED: dict[str, Callable[..., Any]] = {
    "a lambda": lambda: fetch(),
    "an object": Client(),
    "a partial": partial(fetch, 1),
    "a partial of an object": partial(Client()),
    "a task": lambda: asyncio.ensure_future(fetch()),
}


@pytest.mark.parametrize("what", AWAITED)
async def test_what_is_to_be_awaited_is_awaited_inside_the_call(what: str) -> None:
    await in_thread(lambda: CircuitFactory(name="payments", threshold=2))
    function = circuits.protect("payments")(AWAITED[what])
    for _ in range(2):
        with pytest.raises(RemoteError):
            await function()
    after = await arow()
    assert (after.state, after.total_failures) == ("open", 2)
    with pytest.raises(circuits.CircuitOpenError):
        await function()


async def test_a_trial_that_is_to_be_awaited_is_one_trial() -> None:
    await in_thread(lambda: CircuitFactory(name="payments", expired=True))

    async def answer() -> int:
        return 1

    assert await circuits.protect("payments")(lambda: answer())() == 1
    await in_thread(circuits.flush)
    after = await arow()
    assert (after.state, after.total_successes, after.leases) == ("closed", 1, [])


async def test_what_nobody_awaits_holds_no_place() -> None:
    await in_thread(lambda: CircuitFactory(name="payments", max_concurrent=1))
    loop = asyncio.get_running_loop()
    function = circuits.protect("payments")(lambda: cast(Any, loop.create_future()))
    for each in [function() for _ in range(2)]:
        each.close()


@pytest.mark.parametrize("what", ["a lambda", "an object"])
async def test_what_is_to_be_awaited_has_its_fallback(what: str) -> None:
    async def zero(error: Exception) -> int:
        assert isinstance(error, RemoteError)
        return 0

    fallback = zero if what == "an object" else lambda error: zero(error)
    function = circuits.protect("payments", fallback=fallback)(AWAITED[what])
    assert await function() == 0
    assert (await arow()).total_failures == 1


def test_a_partial_of_a_generator_function_is_refused() -> None:
    def pages() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match=NO_GENERATOR):
        circuits.protect("payments")(partial(pages))


# The arguments of a fallback


@pytest.mark.parametrize(
    ("fallback", "value"),
    [
        (lambda error: (error,), ()),
        (lambda error, found=(): (error, *found), ()),
        (lambda error, order, *, currency: (error, order, currency), (7, "EUR")),
        (lambda error, *args, **kwargs: (error, *args, *kwargs.values()), (7, "EUR")),
        (lambda *args, **kwargs: (*args, *kwargs.values()), (7, "EUR")),
    ],
    ids=["the error", "a default", "all", "the rest", "anything"],
)
async def test_a_fallback_may_take_the_calls_arguments(
    fallback: Callable[..., Any], value: tuple[Any, ...]
) -> None:
    def charge(order: int, *, currency: str) -> Any:
        raise RemoteError

    async def acharge(order: int, *, currency: str) -> Any:
        raise RemoteError

    protect = circuits.protect("payments", fallback=fallback)
    sync = await in_thread(lambda: protect(charge)(7, currency="EUR"))
    for error, *rest in (sync, await protect(acharge)(7, currency="EUR")):
        assert isinstance(error, RemoteError)
        assert tuple(rest) == value


def test_an_async_fallback_of_a_function_that_is_not_async_is_refused() -> None:
    async def zero(error: Exception) -> int:
        return 0

    sentence = (
        r"^The fallback .*zero is async, and Client\.halve is not; give it one that is not\.$"
    )
    with pytest.raises(TypeError, match=sentence):
        circuits.protect("payments", fallback=zero)(Client.halve)
