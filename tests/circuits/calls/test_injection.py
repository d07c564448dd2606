"""Injected faults, by every way to call: what a caller sees, and what reaches the remote."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx
import pytest
import requests
import trio
from pytest_django import Settings
from urllib3 import Timeout

import circuits
from circuits import (
    AsyncCircuitTransport,
    CircuitAdapter,
    CircuitBreaker,
    CircuitTransport,
    InjectedFailureError,
    RemoteCallFailedException,
    circuit_task,
)
from circuits.core.injection import Injection
from circuits.models import Circuit, Transition
from circuits.process import faults, loops, runtime
from circuits.process.gate import random
from circuits.testing import memory_circuits
from mockapi.hits import hits
from tests import clock
from tests.calls import fail, succeed
from tests.clock import database_clock
from tests.concurrency import wait_until
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed", "faults_allowed")


@pytest.fixture
def name() -> str:
    """A circuit that opens at the second failure."""
    name = f"remote-{uuid4().hex[:8]}"
    CircuitFactory.create(name=name, threshold=2)
    return name


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that calls have waited, without any of them waiting."""
    waits: list[float] = []

    async def asleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(faults, "sleep", waits.append)
    monkeypatch.setattr(loops, "sleep", asleep)
    return waits


class SdkError(Exception):
    """What the library of a remote raises, and the callers below name as the only failure."""


def by_call(name: str, url: str) -> Any:
    return circuits.call(name, url)


def by_guard(name: str, url: str) -> Any:
    with circuits.guard(name, exceptions=SdkError):
        return requests.get(url, timeout=5)


def by_protect(name: str, url: str) -> Any:
    return circuits.protect(name, exceptions=SdkError)(requests.get)(url, timeout=5)


def by_breaker(name: str, url: str) -> Any:
    breaker = CircuitBreaker(requests.get, exceptions=(SdkError,), name=name)
    return breaker.make_remote_call(url, timeout=5)


def by_adapter(name: str, url: str) -> Any:
    with requests.Session() as session:
        session.mount("http://", CircuitAdapter(name))
        return session.get(url, timeout=5)


def by_transport(name: str, url: str) -> Any:
    with httpx.Client(transport=CircuitTransport(name=name)) as client:
        return client.get(url)


def by_task(name: str, url: str) -> Any:
    get = circuit_task(name, exceptions=SdkError, name=f"get by {name}")(requests.get)
    return get(url, timeout=5)


async def by_acall(name: str, url: str) -> Any:
    return await circuits.acall(name, url)


async def by_async_guard(name: str, url: str) -> Any:
    async with circuits.guard(name, exceptions=SdkError), httpx.AsyncClient() as client:
        return await client.get(url)


async def _aget(url: str) -> Any:
    async with httpx.AsyncClient() as client:
        return await client.get(url)


async def by_async_protect(name: str, url: str) -> Any:
    return await circuits.protect(name, exceptions=SdkError)(_aget)(url)


async def by_protected_awaitable(name: str, url: str) -> Any:
    """A function that is not known to be async, and returns something to await."""
    return await circuits.protect(name, exceptions=SdkError)(lambda: _aget(url))()


async def by_async_breaker(name: str, url: str) -> Any:
    return await CircuitBreaker(_aget, exceptions=(SdkError,), name=name).make_remote_call(url)


async def by_async_transport(name: str, url: str) -> Any:
    async with httpx.AsyncClient(transport=AsyncCircuitTransport(name=name)) as client:
        return await client.get(url)


#: What each way raises for an injected failure.
SYNC: dict[Callable[[str, str], Any], type[Exception]] = {
    by_call: RemoteCallFailedException,
    by_guard: InjectedFailureError,
    by_protect: InjectedFailureError,
    by_breaker: RemoteCallFailedException,
    by_adapter: requests.ConnectionError,
    by_transport: httpx.ConnectError,
    by_task: InjectedFailureError,
}
ASYNC: dict[Callable[[str, str], Awaitable[Any]], type[Exception]] = {
    by_acall: RemoteCallFailedException,
    by_async_guard: InjectedFailureError,
    by_async_protect: InjectedFailureError,
    by_protected_awaitable: InjectedFailureError,
    by_async_breaker: RemoteCallFailedException,
    by_async_transport: httpx.ConnectError,
}
LOOPS = {"asyncio": asyncio.run, "trio": lambda coroutine: trio.run(_awaiting, coroutine)}


async def _awaiting(coroutine: Awaitable[Any]) -> Any:
    return await coroutine


def made_by(way: Any, loop: str = "asyncio") -> Callable[[str, str], Any]:
    """Return a function that makes one call in a way, in an event loop if it needs one."""
    if way in SYNC:
        return lambda name, url: way(name, url)
    return lambda name, url: LOOPS[loop](way(name, url))


EACH_WAY = [
    *((made_by(way), error, way.__name__) for way, error in SYNC.items()),
    *((made_by(way), error, way.__name__) for way, error in ASYNC.items()),
    *((made_by(way, "trio"), error, f"{way.__name__} trio") for way, error in ASYNC.items()),
]
each_way = pytest.mark.parametrize(
    ("call", "error"),
    [(call, error) for call, error, _ in EACH_WAY],
    ids=[name for _, _, name in EACH_WAY],
)


def row(name: str) -> Any:
    return Circuit.objects.get(name=name)


@each_way
def test_a_call_fails_without_reaching_the_remote_and_opens_the_circuit(
    name: str, remote: str, call: Callable[[str, str], Any], error: type[Exception]
) -> None:
    circuits.get(name).inject(failures=1)
    for _ in range(2):
        with pytest.raises(error) as failed:
            call(name, f"{remote}/success")
        assert "njected failure" in str(failed.value)
    # In an event loop, a thread reports what a function that is not async has raised.
    wait_until(lambda: row(name).state == "open")
    with pytest.raises(circuits.CircuitOpenError):
        call(name, f"{remote}/success")
    assert hits.snapshot()["success"] == 0
    assert row(name).last_error == (
        f"InjectedFailureError: Injected failure: the call to {name} was not made."
    )


@each_way
def test_a_late_call_waits_once_and_is_then_made(
    name: str,
    remote: str,
    slept: list[float],
    call: Callable[[str, str], Any],
    error: type[Exception],
) -> None:
    circuits.get(name).inject(delay=2)
    assert call(name, f"{remote}/success").status_code == 200
    assert slept == [2]
    assert hits.snapshot()["success"] == 1
    runtime.flush()
    assert (row(name).total_failures, row(name).total_successes) == (0, 1)


@each_way
def test_where_the_setting_is_off_nothing_is_injected(
    settings: Settings,
    name: str,
    remote: str,
    slept: list[float],
    call: Callable[[str, str], Any],
    error: type[Exception],
) -> None:
    circuits.get(name).inject(failures=0.5, delay=2)
    settings.CIRCUITS = {**settings.CIRCUITS, "ALLOW_INJECTION": False}
    runtime.forget()
    for _ in range(3):
        assert call(name, f"{remote}/success").status_code == 200
    assert not slept
    assert hits.snapshot()["success"] == 3
    assert row(name).injected_until is not None  # which is left to those that allow it


@pytest.mark.parametrize("call", [made_by(by_call), made_by(by_acall)])
def test_so_does_a_process_that_asks_at_every_call(
    name: str, remote: str, settings: Settings, call: Callable[[str, str], Any]
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 0}
    url = f"{remote}/success"
    assert call(name, url).status_code == 200
    circuits.get(name).inject(failures=1)
    with pytest.raises(RemoteCallFailedException):
        call(name, url)
    circuits.get(name).stop_injection()
    assert call(name, url).status_code == 200
    assert hits.snapshot()["success"] == 2


# Timeouts --------------------------------------------------------------------------------------


def call_with_its_own(name: str, url: str) -> Any:
    return circuits.call(name, url, timeout=(9, 1.5))


def adapter_with_its_own(name: str, url: str) -> Any:
    with requests.Session() as session:
        session.mount("http://", CircuitAdapter(name))
        return session.get(url, timeout=1.5)


def adapter_with_one_of_urllib3(name: str, url: str) -> Any:
    timeout: Any = Timeout(total=9, read=1.5)
    with requests.Session() as session:
        session.mount("http://", CircuitAdapter(name))
        return session.get(url, timeout=timeout)


def adapter_with_a_total(name: str, url: str) -> Any:
    timeout: Any = Timeout(total=9)
    with requests.Session() as session:
        session.mount("http://", CircuitAdapter(name))
        return session.get(url, timeout=timeout)


def transport_with_its_own(name: str, url: str) -> Any:
    timeout = httpx.Timeout(9, read=1.5)
    with httpx.Client(transport=CircuitTransport(name=name), timeout=timeout) as client:
        return client.get(url)


async def acall_with_its_own(name: str, url: str) -> Any:
    return await circuits.acall(name, url, timeout=(9, 1.5, 9, 9))


async def async_transport_with_its_own(name: str, url: str) -> Any:
    transport = AsyncCircuitTransport(name=name)
    async with httpx.AsyncClient(transport=transport, timeout=1.5) as client:
        return await client.get(url)


TIMED: list[tuple[Any, float, type[Exception]]] = [
    (call_with_its_own, 1.5, requests.ReadTimeout),
    (by_call, 3, requests.ReadTimeout),
    (adapter_with_its_own, 1.5, requests.ReadTimeout),
    (adapter_with_one_of_urllib3, 1.5, requests.ReadTimeout),
    (adapter_with_a_total, 9, requests.ReadTimeout),
    (transport_with_its_own, 1.5, httpx.ReadTimeout),
    (lambda name, url: asyncio.run(acall_with_its_own(name, url)), 1.5, httpx.ReadTimeout),
    (lambda name, url: asyncio.run(by_acall(name, url)), 3, httpx.ReadTimeout),
    (
        lambda name, url: asyncio.run(async_transport_with_its_own(name, url)),
        1.5,
        httpx.ReadTimeout,
    ),
]


@pytest.mark.parametrize(("call", "waits", "error"), TIMED)
def test_a_call_that_is_later_than_its_timeout_fails_as_its_library_does(
    name: str, remote: str, slept: list[float], call: Any, waits: float, error: type[Exception]
) -> None:
    Circuit.objects.filter(name=name).update(timeout=3)
    circuits.get(name).inject(delay=30)
    with pytest.raises((error, RemoteCallFailedException)) as failed:
        call(name, f"{remote}/success")
    seen: Any = failed.value
    timed_out = seen if isinstance(seen, error) else seen.__cause__
    assert isinstance(timed_out, error)
    assert isinstance(timed_out.__cause__, InjectedFailureError)
    assert timed_out.__cause__.is_timeout
    assert slept == [pytest.approx(waits, abs=0.1)]
    assert hits.snapshot()["success"] == 0
    assert row(name).failure_count == 1


def test_without_a_timeout_a_caller_waits_as_long_as_it_takes(
    name: str, remote: str, slept: list[float]
) -> None:
    circuits.get(name).inject(delay=60)
    with httpx.Client(transport=CircuitTransport(name=name), timeout=None) as client:
        assert client.get(f"{remote}/success").status_code == 200
    with requests.Session() as session:
        session.mount("http://", CircuitAdapter(name))
        for timeout in (None, Timeout(connect=9)):
            answered = session.get(f"{remote}/success", timeout=timeout)  # type: ignore[arg-type]
            assert answered.status_code == 200
    assert slept == [60, 60, 60]


# What callers and circuits make of it ------------------------------------------------------------


def test_the_cause_is_what_the_library_raises(name: str, remote: str) -> None:
    circuits.get(name).inject(failures=1)
    with pytest.raises(RemoteCallFailedException) as failed:
        circuits.call(name, f"{remote}/success")
    assert isinstance(failed.value.__cause__, requests.ConnectionError)
    assert_told(failed.value, name)
    with pytest.raises(RemoteCallFailedException) as failed:
        asyncio.run(by_acall(name, f"{remote}/success"))
    cause = failed.value.__cause__
    assert isinstance(cause, httpx.ConnectError)
    assert (cause.request.method, str(cause.request.url)) == ("GET", f"{remote}/success")
    assert_told(failed.value, name)


def assert_told(error: RemoteCallFailedException, name: str) -> None:
    assert error.name == name
    assert str(error).startswith(f"The call to {name} failed: Connect")


def test_the_request_that_was_not_sent_is_named_as_the_library_names_it(name: str) -> None:
    circuits.get(name).inject(failures=1)
    with pytest.raises(requests.ConnectionError) as failed:
        by_adapter(name, "http://pay.example/charge")
    sent = failed.value.request
    assert sent is not None
    assert sent.url == "http://pay.example/charge"

    request = httpx.Request("GET", "http://pay.example/charge")
    with (
        CircuitTransport(name=name) as transport,  # a client would name the request itself
        pytest.raises(httpx.ConnectError) as refused,
    ):
        transport.handle_request(request)
    assert refused.value.request is request

    async def by_itself() -> None:
        async with AsyncCircuitTransport(name=name) as transport:
            await transport.handle_async_request(request)

    with pytest.raises(httpx.ConnectError) as refused:
        asyncio.run(by_itself())
    assert refused.value.request is request


def test_an_async_function_is_struck_when_it_is_awaited(name: str) -> None:
    circuits.get(name).inject(failures=1)
    later = CircuitBreaker(_aget, (SdkError,), name=name).make_remote_call("http://pay.example/")
    assert row(name).failure_count == 0
    with pytest.raises(RemoteCallFailedException):
        asyncio.run(_awaiting(later))
    assert row(name).failure_count == 1


def test_fallbacks_run_as_for_any_failure(name: str, remote: str) -> None:
    circuits.get(name).inject(failures=1)
    url = f"{remote}/success"
    assert circuits.call(name, url, fallback=lambda error: "spare") == "spare"
    protected: Any = circuits.protect(name, fallback=lambda error: "spare", exceptions=SdkError)(
        requests.get
    )
    assert protected(url, timeout=5) == "spare"
    assert row(name).state == "open"


def test_a_failure_of_one_circuit_is_for_another_what_any_exception_is(name: str) -> None:
    outer = f"outer-{name}"
    circuits.get(name).inject(failures=1)
    with pytest.raises(InjectedFailureError), circuits.guard(outer, exceptions=SdkError):
        by_guard(name, "")
    with suppress(InjectedFailureError), circuits.guard(outer):
        by_guard(name, "")
    assert row(outer).failure_count == 1


def test_an_injected_failure_of_another_circuit_is_not_one_of_this(name: str) -> None:
    outer = f"outer-{name}"
    circuits.get(name).inject(failures=1)
    protected = circuits.protect(outer, lambda error: "spare", exceptions=SdkError)(by_guard)
    with pytest.raises(InjectedFailureError):
        protected(name, "")
    breaker = CircuitBreaker(by_async_guard, (SdkError,), name=outer)
    with pytest.raises(InjectedFailureError):
        asyncio.run(_awaiting(breaker.make_remote_call(name, "")))


def test_a_call_inside_another_one_is_not_struck_a_second_time(
    name: str, slept: list[float]
) -> None:
    circuits.get(name).inject(delay=2)
    with circuits.guard(name), circuits.guard(name):
        pass
    assert slept == [2]


def test_a_share_of_the_calls_fails(name: str) -> None:
    Circuit.objects.filter(name=name).update(threshold=1000)
    circuits.get(name).inject(failures=0.25)
    random.seed(7)
    failed = 0
    for _ in range(200):
        try:
            succeed(name)
        except InjectedFailureError:
            failed += 1
    assert 30 <= failed <= 70


def test_a_late_call_counts_as_slow(
    name: str, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    Circuit.objects.filter(name=name).update(slow_call_seconds=2, threshold=1)
    at = clock.install(monkeypatch)
    monkeypatch.setattr(faults, "sleep", at.pass_by)
    circuits.get(name).inject(delay=3)
    succeed(name)
    assert row(name).state == "open"
    assert row(name).last_error.startswith("SlowCall")


def test_a_trial_that_fails_gives_its_lease_back_with_its_outcome(name: str) -> None:
    fail(name, 2)
    circuits.get(name).try_now()
    circuits.get(name).inject(failures=1)
    with pytest.raises(InjectedFailureError):
        succeed(name)
    assert (row(name).state, row(name).reopen_count, row(name).leases) == ("open", 1, [])


def test_a_caller_that_is_interrupted_while_it_waits_leaves_its_place(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    Circuit.objects.filter(name=name).update(max_concurrent=1)
    circuits.get(name).inject(delay=9)
    with monkeypatch.context() as patch:
        patch.setattr(faults, "sleep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            succeed(name)
    monkeypatch.setattr(faults, "sleep", lambda seconds: None)
    succeed(name)
    assert row(name).failure_count == 0


@pytest.mark.parametrize("loop", LOOPS)
def test_a_task_that_is_cancelled_while_it_waits_leaves_its_place(name: str, loop: str) -> None:
    async def call() -> None:
        async with circuits.guard(name):
            raise AssertionError("the call was made")

    async def give_up() -> None:
        if loop == "trio":
            with trio.move_on_after(0.01):
                await call()
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(call(), 0.01)

    Circuit.objects.filter(name=name).update(max_concurrent=1)
    circuits.get(name).inject(delay=60)
    LOOPS[loop](give_up())
    circuits.get(name).stop_injection()
    succeed(name)
    assert row(name).failure_count == 0


# Begin and end -----------------------------------------------------------------------------------


@pytest.fixture
def database(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[clock.DatabaseClock]:
    with database_clock(monkeypatch) as moved:
        yield moved


def test_it_ends_by_itself_and_the_next_calls_share_a_ticket_again(
    name: str, database: clock.DatabaseClock, slept: list[float]
) -> None:
    circuits.get(name).inject(delay=1, seconds=60)
    succeed(name)
    database.jump(61)
    runtime.forget()
    succeed(name, 2)
    assert slept == [1]
    view = runtime.gate(name).view
    assert view.injection is None
    assert view.shares_until > view.fresh_until - 1
    assert circuits.get(name).injection is None


def test_a_process_that_read_it_before_its_end_stops_at_its_end(
    name: str, slept: list[float], monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 60}
    at = clock.install(monkeypatch)
    circuits.get(name).inject(delay=1, seconds=30)
    succeed(name)
    at.pass_by(31)
    succeed(name)
    assert slept == [1]


def test_to_stop_ends_it_at_once(name: str, slept: list[float]) -> None:
    handle = circuits.get(name)
    assert handle.inject(delay=1)
    assert handle.stop_injection()
    assert not handle.stop_injection()
    succeed(name)
    assert not slept


def test_a_healthy_circuit_without_faults_goes_the_short_way_all_the_same(name: str) -> None:
    succeed(name, 2)
    view = runtime.gate(name).view
    assert view.shares_until == view.passes_until == view.fresh_until
    circuits.get(name).inject(failures=1)
    with pytest.raises(InjectedFailureError):
        succeed(name)
    view = runtime.gate(name).view
    assert view.shares_until == view.passes_until == float("-inf")


def test_it_is_injected_into_circuits_in_memory_too(slept: list[float]) -> None:
    with memory_circuits():
        circuits.get("payments").inject(failures=1)
        with pytest.raises(InjectedFailureError):
            succeed("payments")
        circuits.get("payments").inject(delay=4)
        succeed("payments")
    assert slept == [4]


# The handle --------------------------------------------------------------------------------------


def test_the_handle_tells_what_is_injected(name: str) -> None:
    assert circuits.get(name).injection is None
    handle = circuits.get(name)
    handle.inject(failures=0.5, delay=2, seconds=60)
    found = handle.injection
    assert found is not None
    assert (found.failures, found.delay) == (0.5, 2)
    assert isinstance(found, Injection)
    assert row(name).injected_until.timestamp() == pytest.approx(found.until)


def test_the_history_says_who_why_what_and_until_when(name: str) -> None:
    handle = circuits.get(name)
    handle.inject(failures=0.5, delay=2, seconds=60, actor="ann", reason="game day")
    handle.stop_injection(actor="bob", reason="seen enough")
    ended, began = Transition.objects.filter(circuit__name=name)
    assert (began.reason, began.actor) == ("injection", "ann")
    assert began.detail == "50% fail, the others are 2 s late: game day"
    assert began.until is not None
    assert (began.until - began.at).total_seconds() == pytest.approx(60)
    assert (ended.reason, ended.actor, ended.until) == ("injection", "bob", None)
    assert ended.detail == "ended: seen enough"
    assert {began.from_state, began.to_state, ended.to_state} == {"closed"}
    assert ended.generation == began.generation + 1 == row(name).generation


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({}, "Give failures, a delay or both: nothing would be injected."),
        ({"failures": 1.5}, "failures must be a number from 0 to 1, not 1.5."),
        ({"delay": 61}, "delay must be a number from 0 to 60, not 61."),
        ({"delay": 1, "seconds": 3601}, "seconds must be a number from 1 to 3,600, not 3601."),
        ({"failures": "all"}, "failures must be a number from 0 to 1, not 'all'."),
    ],
)
def test_what_cannot_be_injected_is_refused_in_a_sentence(
    name: str, asked: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(circuits.InvalidInputError) as refused:
        circuits.get(name).inject(**asked)
    assert str(refused.value) == sentence
    assert row(name).generation == 0


def test_without_the_setting_nothing_can_be_injected(name: str, settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "ALLOW_INJECTION": False}
    with pytest.raises(circuits.InvalidInputError, match="CIRCUITS\\['ALLOW_INJECTION'\\]"):
        circuits.get(name).inject(failures=1)
    assert row(name).injected_until is None


@pytest.mark.parametrize("is_timeout", [False, True])
def test_the_exception_can_be_pickled(is_timeout: bool) -> None:
    error = InjectedFailureError("payments", is_timeout)
    again = pickle.loads(pickle.dumps(error))
    assert (again.name, again.is_timeout, str(again)) == ("payments", is_timeout, str(error))
    assert isinstance(again, ConnectionError)
