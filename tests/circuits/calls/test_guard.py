"""``circuits.guard``: a block of code, sync or async, as a call through a circuit."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from traceback import extract_tb
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from pytest_django import Settings

import circuits
from circuits.models import Circuit
from circuits.process import asking, observers, runtime
from circuits.process.observers import CallOutcome
from circuits.process.threads import in_thread
from tests import clock
from tests.calls import fail, refusal, succeed
from tests.concurrency import wait_until
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")


def row(name: str = "payments") -> Any:
    return Circuit.objects.get(name=name)


async def arow(name: str = "payments") -> Any:
    return await in_thread(row, name)


async def make(**fields: Any) -> None:
    await in_thread(lambda: CircuitFactory(name="payments", **fields))


# The block


def test_a_block_that_ends_well_is_a_success() -> None:
    CircuitFactory(name="payments", failure_count=3)
    with circuits.guard("payments"):
        assert row().failure_count == 3
    assert row().failure_count == 0


async def test_async_a_block_that_ends_well_is_a_success() -> None:
    await make(failure_count=3)
    async with circuits.guard("payments"):
        assert (await arow()).failure_count == 3
    assert (await arow()).failure_count == 0


def test_the_blocks_exception_goes_through_untouched() -> None:
    error = ConnectionError("the remote is down")
    with pytest.raises(ConnectionError) as raised, circuits.guard("payments"):
        raise error
    assert_untouched(raised.value, error)
    assert row().total_failures == 1
    assert row().last_error == "ConnectionError: the remote is down"


async def test_async_the_blocks_exception_goes_through_untouched() -> None:
    error = ConnectionError("the remote is down")
    with pytest.raises(ConnectionError) as raised:
        async with circuits.guard("payments"):
            raise error
    assert_untouched(raised.value, error)
    assert (await arow()).total_failures == 1
    assert (await arow()).last_error == "ConnectionError: the remote is down"


def assert_untouched(raised: BaseException, error: BaseException) -> None:
    assert raised is error
    assert (raised.__cause__, raised.__context__) == (None, None)
    files = {frame.filename for frame in extract_tb(raised.__traceback__)}
    assert files == {__file__}, "no frame was added"


def test_failures_open_the_circuit_and_a_refused_block_does_not_run() -> None:
    fail("payments", 5)
    assert refusal("payments").name == "payments"
    assert row().total_failures == 5


async def test_async_failures_open_the_circuit_and_a_refused_block_does_not_run() -> None:
    for _ in range(5):
        with suppress(ConnectionError):
            async with circuits.guard("payments"):
                raise ConnectionError
    with pytest.raises(circuits.CircuitOpenError):
        async with circuits.guard("payments"):
            raise AssertionError("the call was made")


# What counts


@pytest.mark.parametrize("exceptions", [LookupError, (OSError, LookupError)])
def test_only_the_exceptions_named_count(exceptions: Any) -> None:
    for error in (KeyError(), ValueError()):
        with suppress(KeyError, ValueError), circuits.guard("payments", exceptions=exceptions):
            raise error
    assert row().total_failures == 1
    assert row().last_error == "KeyError"


async def test_async_only_the_exceptions_named_count() -> None:
    for error in (KeyError(), ValueError()):
        with suppress(KeyError, ValueError):
            async with circuits.guard("payments", exceptions=LookupError):
                raise error
    assert (await arow()).total_failures == 1


def test_an_exception_that_does_not_count_is_no_success_either() -> None:
    CircuitFactory(name="payments", failure_count=3)
    with suppress(ValueError), circuits.guard("payments", exceptions=LookupError):
        raise ValueError
    circuits.flush()
    assert (row().failure_count, row().total_successes) == (3, 0)


INTERRUPTIONS = [KeyboardInterrupt, SystemExit, CancelledError, GeneratorExit]


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_an_interruption_counts_as_nothing(interruption: type[BaseException]) -> None:
    CircuitFactory(name="payments", failure_count=3)
    with pytest.raises(interruption), circuits.guard("payments"):
        raise interruption
    circuits.flush()
    assert (row().failure_count, row().total_failures, row().total_successes) == (3, 0, 0)


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_an_interruption_gives_the_place_of_a_trial_back(interruption: type[BaseException]) -> None:
    CircuitFactory(name="payments", expired=True)
    with pytest.raises(interruption), circuits.guard("payments"):
        raise interruption
    assert (row().state, row().leases) == ("half_open", [])
    succeed("payments")
    assert row().state == "closed"


async def test_async_a_cancelled_block_gives_the_place_of_a_trial_back() -> None:
    await make(expired=True)
    began = asyncio.Event()

    async def work() -> None:
        async with circuits.guard("payments"):
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await began.wait()
    assert len((await arow()).leases) == 1
    task.cancel()
    with pytest.raises(CancelledError):
        await task
    after = await arow()
    assert (after.state, after.leases, after.total_failures) == ("half_open", [], 0)


def test_a_generator_left_unfinished_gives_the_place_of_a_trial_back() -> None:
    def pages() -> Iterator[int]:
        with circuits.guard("payments"):
            yield from range(10)

    CircuitFactory(name="payments", expired=True)
    reading = pages()
    next(reading)
    assert len(row().leases) == 1
    del reading
    assert (row().state, row().leases) == ("half_open", [])


async def test_async_a_generator_left_unfinished_gives_the_place_of_a_trial_back() -> None:
    async def pages() -> AsyncGenerator[int, None]:
        async with circuits.guard("payments"):
            for page in range(10):
                yield page

    await make(expired=True)
    async with aclosing(pages()) as reading:
        await anext(reading)
        assert len((await arow()).leases) == 1
    assert (await arow()).leases == []


#: Seconds in which what a process knows of a circuit stays fresh.
A_LITTLE = 1 / 64


def test_observers_hear_how_long_a_block_took(monkeypatch: pytest.MonkeyPatch) -> None:
    at, heard = clock.install(monkeypatch), []

    def hear(name: str, outcome: CallOutcome, seconds: float) -> None:
        heard.append((outcome.value, seconds / A_LITTLE))

    async def block() -> None:
        async with circuits.guard("payments"):
            at.pass_by(4 * A_LITTLE)

    observers.add(hear)
    for times in (1, 2, 3):
        with circuits.guard("payments"):
            at.pass_by(times * A_LITTLE)
    asyncio.run(block())
    with suppress(ConnectionError), circuits.guard("payments"):
        at.pass_by(5 * A_LITTLE)
        raise ConnectionError
    observers.remove(hear)
    assert heard == [*(("success", times) for times in (1, 2, 3, 4)), ("failure", 5)]


# Its use


def test_a_guard_that_has_ended_can_be_entered_again() -> None:
    guard = circuits.guard("payments")
    for _ in range(2):
        with guard:
            pass
    circuits.flush()
    assert row().total_successes == 2


IN_USE = r"^This guard is in use; make a new one for each block\.$"


def test_a_guard_in_use_cannot_be_entered_again() -> None:
    guard = circuits.guard("payments")
    with guard, pytest.raises(RuntimeError, match=IN_USE), guard:
        pass
    circuits.flush()
    assert row().total_successes == 1


async def test_async_a_guard_in_use_cannot_be_entered_again() -> None:
    guard = circuits.guard("payments")
    async with guard:
        with pytest.raises(RuntimeError, match=IN_USE):
            async with guard:
                pass


@pytest.mark.parametrize("name", ["", "x" * 101, "pay\nments", None])
def test_a_name_that_cannot_be_a_circuits_is_refused_at_once(name: Any) -> None:
    with pytest.raises(circuits.InvalidInputError, match="name"):
        circuits.guard(name)
    assert not Circuit.objects.exists()


# One guard in another


def test_guards_of_different_circuits_each_count_the_failure() -> None:
    for _ in range(2):
        with suppress(ConnectionError), circuits.guard("orders"), circuits.guard("payments"):
            raise ConnectionError
    assert (row("orders").total_failures, row("payments").total_failures) == (2, 2)


def test_a_failure_that_is_handled_inside_is_a_success_outside() -> None:
    CircuitFactory(name="orders", failure_count=3)
    with circuits.guard("orders"):
        fail("payments")
    assert (row("orders").failure_count, row("payments").failure_count) == (0, 1)


def test_a_refusal_inside_does_not_count_outside() -> None:
    CircuitFactory(name="payments", opened=True)
    CircuitFactory(name="orders", failure_count=3)
    with pytest.raises(circuits.CircuitOpenError), circuits.guard("orders"):
        succeed("payments")
    circuits.flush()
    orders = row("orders")
    assert (orders.failure_count, orders.total_failures, orders.total_successes) == (3, 0, 0)


async def test_async_a_refusal_inside_does_not_count_outside() -> None:
    await make(opened=True)
    with pytest.raises(circuits.CircuitOpenError):
        async with circuits.guard("orders"), circuits.guard("payments"):
            raise AssertionError("the call was made")
    assert (await arow("orders")).total_failures == 0


def test_a_refusal_inside_gives_the_place_of_a_trial_outside_back() -> None:
    CircuitFactory(name="payments", opened=True)
    CircuitFactory(name="orders", expired=True)
    with pytest.raises(circuits.CircuitOpenError), circuits.guard("orders"):
        succeed("payments")
    assert (row("orders").state, row("orders").leases) == ("half_open", [])


def test_a_failed_call_inside_counts_outside_too(remote: str) -> None:
    with pytest.raises(circuits.RemoteCallFailedException), circuits.guard("orders"):
        circuits.call("payments", f"{remote}/faulty")
    assert (row("orders").total_failures, row("payments").total_failures) == (1, 1)


# A sync block in an event loop


async def test_in_an_event_loop_a_block_works_from_memory(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 60}
    async with circuits.guard("payments"):
        pass
    with circuits.guard("payments"):
        pass
    await in_thread(circuits.flush)
    assert (await arow()).total_successes == 2


async def test_in_an_event_loop_a_block_that_needs_the_database_says_what_to_do() -> None:
    with (
        pytest.raises(SynchronousOnlyOperation, match=r"use `async with circuits\.guard`"),
        circuits.guard("payments"),
    ):
        raise AssertionError("the block ran")


async def test_in_an_event_loop_the_blocks_exception_goes_through_and_counts(
    settings: Settings,
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 60}
    await make(threshold=1)
    async with circuits.guard("payments"):
        pass
    with pytest.raises(ConnectionError), circuits.guard("payments"):
        raise ConnectionError
    await in_thread(lambda: wait_until(lambda: row().state == "open"))
    assert (await arow()).total_failures == 1


async def test_in_an_event_loop_a_success_ends_a_run_of_failures(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 60}
    await make(failure_count=1)
    async with circuits.guard("orders"):
        pass
    await in_thread(lambda: asking.current(runtime.gate("payments")))
    with circuits.guard("payments"):
        pass
    await in_thread(lambda: wait_until(lambda: row().failure_count == 0))
