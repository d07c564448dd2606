"""``circuits.CircuitBreaker``: a callable as a remote call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import requests
from asgiref.sync import sync_to_async
from pytest_django import Settings

import circuits
from circuits.models import Circuit
from circuits.process import observers, runtime
from circuits.process.observers import CallOutcome
from tests import clock
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")


def divide(dividend: int, *, by: int) -> int:
    return dividend // by


async def adivide(dividend: int, *, by: int) -> int:
    return dividend // by


class Client:
    def ask(self) -> str:
        return "answer"

    def __call__(self) -> str:
        return "called"


def row() -> Any:
    return Circuit.objects.get()


def failure(remote_call: circuits.CircuitBreaker) -> circuits.RemoteCallFailedException:
    """Divide by zero through the circuit, and return the exception."""
    with pytest.raises(circuits.RemoteCallFailedException) as failed:
        remote_call.make_remote_call(1, by=0)
    return failed.value


# The call


def test_arguments_go_in_and_the_value_comes_out() -> None:
    assert circuits.CircuitBreaker(divide).make_remote_call(7, by=2) == 3


def test_a_failure_is_raised_from_the_functions_exception() -> None:
    error = failure(circuits.CircuitBreaker(divide, name="payments"))
    assert type(error) is circuits.RemoteCallFailedException
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert (error.name, error.response) == ("payments", None)
    assert str(error).startswith("The call to payments failed: ZeroDivisionError: ")
    assert row().total_failures == 1


def test_five_failures_open_the_circuit_for_ten_seconds() -> None:
    remote_call = circuits.CircuitBreaker(divide)
    for _ in range(5):
        assert not isinstance(failure(remote_call), circuits.CircuitOpenError)
    refused = failure(remote_call)
    assert isinstance(refused, circuits.CircuitOpenError)
    assert 9 < refused.retry_after <= 10
    assert (row().threshold, row().delay) == (5, 10)
    assert row().total_failures == 5


def test_a_success_clears_the_count() -> None:
    remote_call = circuits.CircuitBreaker(divide)
    failure(remote_call)
    assert row().failure_count == 1
    remote_call.make_remote_call(1, by=1)
    assert row().failure_count == 0


def test_exceptions_that_are_not_named_go_through_and_count_as_nothing() -> None:
    CircuitFactory(name="payments", failure_count=3)
    remote_call = circuits.CircuitBreaker(divide, exceptions=(OSError,), name="payments")
    with pytest.raises(ZeroDivisionError):
        remote_call.make_remote_call(1, by=0)
    circuits.flush()
    assert (row().failure_count, row().total_failures, row().total_successes) == (3, 0, 0)


def test_an_answer_of_the_remote_goes_through_and_counts_as_nothing(remote: str) -> None:
    def ask() -> None:
        requests.get(f"{remote}/nowhere", timeout=5).raise_for_status()

    with pytest.raises(requests.HTTPError):
        circuits.CircuitBreaker(ask, name="payments").make_remote_call()
    assert row().total_failures == 0


def test_a_failed_answer_is_handed_on(remote: str) -> None:
    def ask() -> None:
        requests.get(f"{remote}/faulty", timeout=5).raise_for_status()

    with pytest.raises(circuits.RemoteCallFailedException) as failed:
        circuits.CircuitBreaker(ask, name="payments").make_remote_call()
    assert isinstance(failed.value.__cause__, requests.HTTPError)
    assert failed.value.response.status_code == 500


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_gives_the_place_of_a_trial_back(interruption: type[BaseException]) -> None:
    def interrupted() -> None:
        raise interruption

    CircuitFactory(name="payments", expired=True)
    with pytest.raises(interruption):
        circuits.CircuitBreaker(interrupted, name="payments").make_remote_call()
    assert (row().state, row().leases, row().total_failures) == ("half_open", [], 0)


def test_a_refusal_by_another_circuit_goes_through() -> None:
    CircuitFactory(name="orders", opened=True)
    CircuitFactory(name="payments", expired=True)
    inner = circuits.CircuitBreaker(divide, name="orders")
    outer = circuits.CircuitBreaker(inner.make_remote_call, name="payments")
    assert failure(outer).name == "orders"
    payments = Circuit.objects.get(name="payments")
    assert (payments.state, payments.leases) == ("half_open", [])


#: Seconds in which what a process knows of a circuit stays fresh.
A_LITTLE = 1 / 64


def test_observers_hear_how_long_a_call_took(monkeypatch: pytest.MonkeyPatch) -> None:
    at, heard = clock.install(monkeypatch), []

    def hear(name: str, outcome: CallOutcome, seconds: float) -> None:
        heard.append((outcome.value, seconds / A_LITTLE))

    def work(times: int, error: Exception | None = None) -> None:
        at.pass_by(times * A_LITTLE)
        if error is not None:
            raise error

    async def awork(times: int) -> None:
        work(times)

    observers.add(hear)
    remote_call = circuits.CircuitBreaker(work, name="payments")
    for times in (1, 2, 3):
        remote_call.make_remote_call(times)
    later = circuits.CircuitBreaker(awork, name="payments").make_remote_call(4)
    at.pass_by(A_LITTLE)  # it is timed from when it is awaited
    asyncio.run(later)
    with pytest.raises(circuits.RemoteCallFailedException):
        remote_call.make_remote_call(5, ConnectionError())
    observers.remove(hear)
    assert heard == [*(("success", times) for times in (1, 2, 3, 4)), ("failure", 5)]


# The name


@pytest.mark.parametrize(
    ("func", "name"),
    [
        (divide, f"{__name__}.divide"),
        (Client.ask, f"{__name__}.Client.ask"),
        (Client().ask, f"{__name__}.Client.ask"),
        (Client(), f"{__name__}.Client"),
        (len, "builtins.len"),
    ],
)
def test_the_circuit_is_named_after_the_function(func: Any, name: str) -> None:
    assert circuits.CircuitBreaker(func).name == name


def test_the_circuit_can_be_given_a_name() -> None:
    circuits.CircuitBreaker(divide, name="payments").make_remote_call(1, by=1)
    assert row().name == "payments"


def test_what_has_no_name_to_be_known_by_must_be_given_one() -> None:
    sentence = r"<lambda> cannot name a circuit; pass CircuitBreaker a name\.$"
    with pytest.raises(circuits.InvalidInputError, match=sentence):
        circuits.CircuitBreaker(lambda: None)
    assert circuits.CircuitBreaker(lambda: 1, name="payments").make_remote_call() == 1


@pytest.mark.parametrize("name", ["", "x" * 101, "pay\nments"])
def test_a_name_that_cannot_be_a_circuits_is_refused(name: str) -> None:
    with pytest.raises(circuits.InvalidInputError, match="name"):
        circuits.CircuitBreaker(divide, name=name)


# The policy


def test_a_new_circuit_gets_the_policy_of_the_code() -> None:
    remote_call = circuits.CircuitBreaker(divide, threshold=2, delay=0.5, name="payments")
    failure(remote_call)
    failure(remote_call)
    assert (row().threshold, row().delay, row().state) == (2, 0.5, "open")


def test_the_policy_of_the_row_wins_over_that_of_the_code() -> None:
    circuits.CircuitBreaker(divide, name="payments").make_remote_call(1, by=1)
    Circuit.objects.update(threshold=1)
    runtime.forget()
    remote_call = circuits.CircuitBreaker(divide, threshold=7, name="payments")
    failure(remote_call)
    assert (row().threshold, row().state) == (1, "open")


def test_the_policy_of_the_settings_wins_over_that_of_the_code(settings: Settings) -> None:
    settings.CIRCUITS = {
        **settings.CIRCUITS,
        "DEFAULTS": {"threshold": 20, "success_threshold": 2},
        "CIRCUITS": {"payments": {"threshold": 3}},
    }
    remote_call = circuits.CircuitBreaker(divide, threshold=7, delay=60, name="payments")
    remote_call.make_remote_call(1, by=1)
    assert (row().threshold, row().delay, row().success_threshold) == (3, 60, 2)


@pytest.mark.parametrize(
    "policy",
    [
        {"threshold": 0},
        {"threshold": 1.5},
        {"threshold": "5"},
        {"delay": -1},
        {"delay": float("nan")},
        {"delay": float("inf")},
        {"delay": None},
    ],
    ids=str,
)
def test_a_policy_that_cannot_be_used_is_named_and_nothing_is_written(policy: Any) -> None:
    (named,) = policy
    with pytest.raises(circuits.InvalidInputError, match=f"^{named} must be "):
        circuits.CircuitBreaker(divide, name="payments", **policy)
    with circuits.guard("payments"):
        pass
    assert (row().threshold, row().delay) == (5, 10), "it was not remembered either"


# Coroutine functions


@pytest.mark.parametrize(
    "func",
    [adivide, sync_to_async(divide), partial(adivide)],
    ids=["async def", "sync_to_async", "partial"],
)
async def test_what_a_coroutine_function_returns_is_awaited_through_the_circuit(func: Any) -> None:
    breaker = circuits.CircuitBreaker(func, (ZeroDivisionError,), threshold=2, name="payments")
    assert await breaker.make_remote_call(8, by=2) == 4
    for _ in range(2):
        with pytest.raises(circuits.RemoteCallFailedException) as failed:
            await breaker.make_remote_call(8, by=0)
        assert isinstance(failed.value.__cause__, ZeroDivisionError)
        assert failed.value.name == "payments"
    with pytest.raises(circuits.CircuitOpenError):
        await breaker.make_remote_call(8, by=2)
    with pytest.raises(TypeError):
        await circuits.CircuitBreaker(func, (KeyError,), name="orders").make_remote_call()


@pytest.mark.parametrize("func", [adivide, lambda dividend, by: adivide(dividend, by=by)])
def test_a_trial_lasts_until_what_the_function_returns_is_awaited(func: Any) -> None:
    async def awaited(later: Any) -> Any:
        return await later

    CircuitFactory(name="payments", expired=True)
    later = circuits.CircuitBreaker(func, name="payments").make_remote_call(8, by=2)
    assert (row().state, len(row().leases)) == ("half_open", 1)
    assert asyncio.run(awaited(later)) == 4
    assert (row().state, row().leases) == ("closed", [])


def test_a_generator_is_refused() -> None:
    def pages() -> Iterator[int]:
        yield 1

    for func in (pages, partial(pages)):
        with pytest.raises(
            TypeError,
            match=r"^CircuitBreaker cannot call the generator .*pages; "
            r"use `with circuits\.guard\(\.\.\.\):` inside it\.$",
        ):
            circuits.CircuitBreaker(func, name="payments")


def test_what_is_excluded_is_an_answer() -> None:
    def charge() -> None:
        raise KeyError("declined")

    breaker = circuits.CircuitBreaker(charge, threshold=1, name="excluding", exclude=KeyError)
    for _ in range(2):
        with pytest.raises(KeyError):
            breaker.make_remote_call()
    assert circuits.get("excluding").state == "closed"
