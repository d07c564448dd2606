"""The budget of retries over processes: what each asks for, flushes, and hears of the others.

Two gates on one row are what two processes are: each with a snapshot and retries of its own.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.db import Error, connections
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

import circuits
from circuits.core import budget
from circuits.core.budget import FLOOR
from circuits.models import Circuit
from circuits.process import asking, flushing, results, runtime
from circuits.process.gate import Gate
from circuits.storage.database import DatabaseStore
from circuits.testing import memory_circuits
from tests.calls import fail, succeed
from tests.clock import Clock, database_clock
from tests.concurrency import Meeting, in_processes, in_threads
from tests.factories import CircuitFactory
from tests.outage import no_database

pytestmark = pytest.mark.usefixtures("committed")


def process() -> Gate:
    """The circuit as a new process sees it."""
    gate = Gate("payments", DatabaseStore())
    asking.current(gate)
    return gate


def call(gate: Gate, times: int) -> None:
    for _ in range(times):
        results.succeed(asking.admit(gate))


def granted(gate: Gate, asked: int = 1000) -> int:
    return sum(gate.may_retry() for _ in range(asked))


def flush(*gates: Gate) -> None:
    flushing.flush(gates, DatabaseStore())


def kept() -> Any:
    return Circuit.objects.get(name="payments").retry_window


def spent() -> tuple[int, int]:
    """Return the calls and retries in the row."""
    buckets = kept()["buckets"]
    return sum(each[1] for each in buckets), sum(each[2] for each in buckets)


def test_a_process_at_rest_has_a_few_retries() -> None:
    assert granted(process()) == FLOOR


def test_it_may_retry_a_share_of_its_calls_beside() -> None:
    one = process()
    one.may_retry()
    call(one, 100)
    assert granted(one) == FLOOR + 20 - 1


def test_the_share_is_the_policys(settings: Settings) -> None:
    CircuitFactory.create(name="payments", retry_share=0.5)
    one = process()
    one.may_retry()
    call(one, 100)
    assert granted(one) == FLOOR + 50 - 1


def test_a_refused_call_is_no_call() -> None:
    one = process()
    one.may_retry()
    circuits.get("payments").force_open()
    asking.current(one)
    one.expire()
    for _ in range(100):
        with pytest.raises(circuits.CircuitOpenError):
            asking.admit(one)
    assert granted(one) == FLOOR - 1


def test_what_one_process_has_spent_the_other_has_not() -> None:
    one, other = process(), process()
    assert granted(one) == FLOOR
    flush(one)
    other.expire()
    asking.current(other)
    assert granted(other) == 0
    assert spent() == (0, FLOOR)


def test_what_one_process_does_not_need_goes_to_the_other_up_to_its_own_share() -> None:
    CircuitFactory.create(name="payments")
    one, other = process(), process()
    assert one.may_retry()
    assert other.may_retry()
    call(one, 1000)
    call(other, 10)
    flush(one, other)
    assert spent() == (1010, 2)
    assert granted(other) == FLOOR + 2 - 1
    assert granted(one) == FLOOR + 200 - 1, "the other has not flushed yet"
    flush(one, other)
    assert sum(granted(each) for each in (one, other)) == 0


def test_a_process_goes_on_from_what_it_has_just_flushed() -> None:
    one = process()
    one.may_retry()
    call(one, 100)
    assert granted(one) == FLOOR + 20 - 1
    flush(one)
    assert granted(one) == 0
    call(one, 100)
    assert granted(one) == 20


def test_a_batch_of_the_rate_strategy_comes_along_with_retries() -> None:
    CircuitFactory.create(name="payments", strategy="rate")
    one = process()
    one.may_retry()
    call(one, 30)
    flush(one)
    window: Any = Circuit.objects.get(name="payments").window
    assert spent() == (30, 1)
    assert sum(each[1] for each in window["buckets"]) == 30
    assert granted(one) == FLOOR + 6 - 1


def test_what_is_spent_comes_back_when_it_leaves_the_window(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = process()
    assert granted(one) == FLOOR
    flush(one)
    clock.pass_by(54)
    assert granted(one) == 0
    clock.pass_by(7)
    assert granted(one) == FLOOR, "though nobody has read or written the row"
    with database_clock(monkeypatch) as database:
        database.jump(61)
        flush(one)
        assert spent() == (0, FLOOR)


def test_retries_that_could_not_be_flushed_are_flushed_the_next_time(clock: Clock) -> None:
    one = process()
    one.may_retry()
    call(one, 50)
    one.may_retry()
    for _ in range(2):
        with no_database(), pytest.raises(Error):
            flush(one)
    assert one.may_retry()
    flush(one)
    assert spent() == (50, 3)


def test_after_a_long_outage_only_what_is_recent_is_flushed(clock: Clock) -> None:
    one = process()
    one.may_retry()
    call(one, 50)
    with no_database(), pytest.raises(Error):
        flush(one)
    clock.pass_by(61)
    one.may_retry()
    flush(one)
    assert spent() == (0, 1)


def test_a_process_that_never_asks_reports_nothing() -> None:
    one = process()
    call(one, 100)
    flush(one)
    assert kept() is None


def test_a_process_that_has_asked_goes_on_reporting_its_calls_and_nothing_else() -> None:
    one = process()
    one.may_retry()
    call(one, 100)
    flush(one)
    flush(one)
    call(one, 5)
    flush(one)
    assert spent() == (105, 1)
    with CaptureQueriesContext(connections["circuits"]) as asked:
        flush(one)
    assert not asked.captured_queries


def test_retries_of_a_circuit_that_is_not_known_yet_are_flushed_once_it_is() -> None:
    one = Gate("payments", DatabaseStore())
    assert one.may_retry()
    flush(one)
    assert not Circuit.objects.exists()
    asking.current(one)
    flush(one)
    assert spent() == (0, 1)


def test_a_deleted_circuit_keeps_no_retries() -> None:
    one = process()
    one.may_retry()
    call(one, 1)
    Circuit.objects.all().delete()
    flush(one)
    assert not Circuit.objects.exists()


# By its public name


def test_asking_makes_the_circuit_and_asks_no_database_again() -> None:
    assert circuits.may_retry("payments")
    with CaptureQueriesContext(connections["circuits"]) as asked:
        assert sum(circuits.may_retry("payments") for _ in range(50)) == FLOOR - 1
    assert not asked.captured_queries
    assert Circuit.objects.filter(name="payments").exists()


def test_a_name_that_no_circuit_can_have_is_refused() -> None:
    with pytest.raises(circuits.InvalidInputError, match="name"):
        circuits.may_retry("no\nname")


def test_failed_calls_are_calls() -> None:
    circuits.may_retry("payments")
    for _ in range(5):
        fail("payments", 4)
        succeed("payments", 1)
    circuits.flush()
    assert spent() == (25, 1)


async def test_in_an_event_loop_no_database_is_asked() -> None:
    def ask() -> int:
        return sum(circuits.may_retry("payments") for _ in range(50))

    assert ask() == FLOOR, "though the process does not know the circuit yet"
    async with circuits.guard("payments"):
        pass
    assert ask() == 0
    await asyncio.to_thread(circuits.flush)
    assert ask() == 0


def test_without_a_database_the_process_goes_on_by_itself(clock: Clock) -> None:
    succeed("payments")
    assert circuits.may_retry("payments")
    with no_database():
        clock.pass_by(1)
        succeed("payments", 100)
        assert sum(circuits.may_retry("payments") for _ in range(50)) == FLOOR + 20 - 1
        clock.pass_by(61)
        assert sum(circuits.may_retry("payments") for _ in range(50)) == FLOOR


def test_a_circuit_never_seen_has_a_budget_without_a_database(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "DEFAULTS": {"retry_share": 1.0}}
    with no_database():
        circuits.may_retry("payments")
        succeed("payments", 10)
        assert sum(circuits.may_retry("payments") for _ in range(50)) == FLOOR + 10 - 1


def test_a_gate_let_go_still_flushes_its_retries(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "MAX_SNAPSHOTS": 10}
    assert circuits.may_retry("payments")
    for number in range(30):
        succeed(f"circuit {number}")
    assert "payments" not in runtime.gates
    with no_database(), pytest.raises(Error):
        circuits.flush()
    circuits.flush()
    assert spent() == (0, 1)


def test_threads_ask_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting, decide = Meeting(), budget.may_retry

    def decide_slowly(*args: Any) -> bool:
        meeting.pass_through()
        return decide(*args)

    circuits.may_retry("payments")
    monkeypatch.setattr(budget, "may_retry", decide_slowly)
    assert in_threads(2, lambda _: circuits.may_retry("payments")) == [True, True]
    assert not meeting.has_happened


def test_processes_share_one_budget() -> None:
    # Each has a few retries before it hears of the other, and a share of its own calls.
    granted = in_processes(2, "spend", name="payments", calls=100)
    assert max(granted) <= FLOOR + 20
    assert spent() == (200, sum(granted))
    # By now they have spent all that the fleet may, of which a new process hears at once.
    assert sum(granted) >= FLOOR + 40
    assert not circuits.may_retry("payments")


def test_a_forked_child_begins_with_nothing_spent() -> None:
    assert in_processes(1, "spend_in_child", name="payments") == [[3, 2]]
    assert spent() == (5, 5)


def test_circuits_in_memory_have_a_budget_too() -> None:
    with memory_circuits():
        assert circuits.may_retry("payments")
        succeed("payments", 50)
        assert sum(circuits.may_retry("payments") for _ in range(50)) == FLOOR + 10 - 1
    assert not Circuit.objects.exists()
