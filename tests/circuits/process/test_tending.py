"""The process watches its calls under way: a trial keeps its lease while its process lives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

import circuits
from circuits.core.status import Lease, State, Status
from circuits.models import Circuit
from circuits.process import asking, flushing, gate, observers, results, runtime, tending
from circuits.process.gate import Gate, Ticket
from circuits.process.observers import CallOutcome
from circuits.process.pulse import Pulse
from circuits.process.tending import MOST_AT_ONCE
from circuits.process.underway import FOREVER, MOST_LEASES, PAUSE, Underway
from circuits.storage.database import DatabaseStore
from circuits.storage.failsafe import FailSafeStore
from circuits.storage.memory import MemoryStore
from tests import clock as clocks
from tests.clock import Clock
from tests.concurrency import wait_until
from tests.factories import CircuitFactory
from tests.outage import no_database

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = clocks.install(monkeypatch)
    yield clock
    runtime.forget()


def row(name: str = "payments") -> Any:
    return Circuit.objects.get(name=name)


class Process:
    """A process in which the test does the work of the background thread.

    Args:
        store: The store of the process; the database by default.
    """

    def __init__(self, name: str = "payments", store: Any = None) -> None:
        self.underway: Underway[Ticket] = Underway()
        self.gate = Gate(name, store or DatabaseStore(), underway=self.underway)

    def tend(self) -> float:
        return tending.tend(self.underway)


class Outside:
    """The callers of one circuit in memory: calls keep coming, and each takes a while."""

    def __init__(self, clock: Clock, settings: Settings, **policy: Any) -> None:
        settings.CIRCUITS = {**settings.CIRCUITS, "CIRCUITS": {"payments": policy}}
        self.clock = clock
        self.store = FailSafeStore(DatabaseStore(), MemoryStore(clock=clock), clock=clock)
        self.store.pinned = True
        opened = Status(state=State.OPEN, opened_at=clock.now - 10, retry_at=clock.now)
        self.store.memory.put("payments", opened)
        self.processes = [Process(store=self.store) for _ in range(3)]
        self.under_way: list[tuple[float, Ticket]] = []
        #: The most trials that were under way at once.
        self.most = 0

    @property
    def state(self) -> str:
        return self.store.read("payments").status.state

    def go_on(
        self, seconds: float, report: Callable[[Ticket], object], *, is_tended: bool = True
    ) -> int:
        """Let calls come until the circuit is no longer half open; return how many ended.

        Args:
            seconds: How long each call takes.
            report: Settles a call with its outcome.
        """
        ended = 0
        for _ in range(10_000):
            for process in self.processes:
                with suppress(circuits.CircuitOpenError):
                    self.under_way.append((self.clock.now + seconds, asking.admit(process.gate)))
                if is_tended:
                    process.tend()
            self.most = max(self.most, len(self.under_way))
            if self.under_way[0][0] <= self.clock.now:
                report(self.under_way.pop(0)[1])
                ended += 1
            if self.state != "half_open":
                return ended
            self.clock.pass_by(0.125)
        raise AssertionError("it is wedged")


def fail(ticket: Ticket) -> None:
    results.fail(ticket, "timed out")


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]


# Leases


def test_good_trials_that_take_longer_than_their_lease_close_it_one_after_the_other(
    clock: Clock, settings: Settings
) -> None:
    outside = Outside(clock, settings, success_threshold=15, lease_seconds=2)
    assert outside.go_on(5, results.succeed) == 15
    assert (outside.state, outside.most) == ("closed", 1)


def test_where_no_thread_tends_them_slow_trials_close_it_too(
    clock: Clock, settings: Settings
) -> None:
    outside = Outside(clock, settings, success_threshold=15, lease_seconds=2)
    assert outside.go_on(5, results.succeed, is_tended=False) == 15
    assert (outside.state, outside.most) == ("closed", 3)


@pytest.mark.parametrize("is_tended", [True, False])
def test_a_slow_failure_opens_it_again(is_tended: bool, clock: Clock, settings: Settings) -> None:
    outside = Outside(clock, settings, success_threshold=15, lease_seconds=2)
    assert outside.go_on(5, fail, is_tended=is_tended) == 1
    assert outside.state == "open"


def test_slow_trials_that_come_to_nothing_wedge_nothing(clock: Clock, settings: Settings) -> None:
    outside = Outside(clock, settings, lease_seconds=2)
    outcomes = [results.succeed, *[results.release] * 5]
    assert outside.go_on(5, lambda ticket: outcomes.pop()(ticket)) == 6
    assert (outside.state, outside.most) == ("closed", 1)


def test_a_trial_that_never_ends_gives_its_place_up(clock: Clock, settings: Settings) -> None:
    outside = Outside(clock, settings, lease_seconds=2)
    began = clock.now
    hangs, other = outside.processes[:2]
    asking.admit(hangs.gate)
    ticket = None
    while ticket is None:
        clock.pass_by(0.5)
        hangs.tend()
        with suppress(circuits.CircuitOpenError):
            ticket = asking.admit(other.gate)
    assert 2 * MOST_LEASES <= clock.now - began <= 2 * (MOST_LEASES + 1)
    results.succeed(ticket)
    assert outside.state == "closed"


def test_a_trial_is_looked_at_well_before_its_lease_ends(clock: Clock) -> None:
    CircuitFactory(name="payments", expired=True, lease_seconds=30)
    process = Process()
    began = clock.now
    ticket = asking.admit(process.gate)
    assert process.underway.next_look() == began + 10
    clock.pass_by(10)
    assert process.tend() == began + 20
    results.release(ticket)
    assert process.tend() == FOREVER


def test_a_trial_keeps_its_lease_in_the_database(clock: Clock) -> None:
    CircuitFactory(name="payments", expired=True, lease_seconds=30)
    process = Process()
    ticket = asking.admit(process.gate)
    [[token, first]] = row().leases
    clock.pass_by(10)
    process.tend()
    [[kept, renewed]] = row().leases
    assert kept == token == ticket.permit.lease
    assert renewed > first
    assert process.gate.snapshot is not None
    assert process.gate.snapshot.status.leases == (Lease(token, renewed),)


def test_a_trial_whose_generation_is_over_asks_for_nothing(clock: Clock) -> None:
    CircuitFactory(name="payments", expired=True, half_open_max_calls=2)
    process = Process()
    asking.admit(process.gate)
    results.succeed(asking.admit(process.gate))
    clock.pass_by(10)
    with CaptureQueriesContext(connections["circuits"]) as queries:
        assert process.tend() == FOREVER
    assert len(queries) == 0


def test_a_trial_within_a_transaction_of_the_caller_is_left_alone(clock: Clock) -> None:
    """Another connection would wait for the row until the caller's transaction ends."""
    CircuitFactory(name="payments", expired=True, lease_seconds=30)
    process = Process()
    with transaction.atomic(using="circuits"):
        ticket = asking.admit(process.gate)
        clock.pass_by(10)
        with CaptureQueriesContext(connections["circuits"]) as queries:
            process.tend()
        assert len(queries) == 0
        results.succeed(ticket)
    assert row().state == "closed"


def test_trouble_with_one_trial_is_logged_and_is_not_that_of_the_others(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    class BrokenStore(DatabaseStore):
        def change(self, *args: Any, **kwargs: Any) -> Any:
            if self.is_broken:
                raise ZeroDivisionError
            return super().change(*args, **kwargs)

        is_broken = False

    CircuitFactory(name="payments", expired=True)
    CircuitFactory(name="mail", expired=True)
    broken, store = Process("mail", BrokenStore()), DatabaseStore()
    asking.admit(broken.gate)
    well = Gate("payments", store, underway=broken.underway)
    asking.admit(well)
    before = row().leases
    broken.gate.store.is_broken = True  # type: ignore[attr-defined]
    clock.pass_by(10)
    assert broken.tend() == clock.now + 10
    assert row().leases != before
    [error] = errors(caplog)
    assert error == "Could not look after a call of the circuit mail."
    assert "ZeroDivisionError" in caplog.text


def test_an_outage_is_nothing_to_log_again(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    CircuitFactory(name="payments", expired=True)
    process = Process()
    asking.admit(process.gate)
    clock.pass_by(10)
    with no_database():
        assert process.tend() == clock.now + 10
    assert errors(caplog) == []


# Calls that are overdue


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Yield a list of the calls that observers learn of."""
    outcomes: list[str] = []

    def observe(name: str, outcome: CallOutcome, seconds: float) -> None:
        outcomes.append(f"{outcome} after {seconds:g}")

    observers.add(observe)
    yield outcomes
    observers.remove(observe)


def totals(process: Process) -> tuple[int, int]:
    """Return the successes and failures in the row once the process has written its tallies."""
    flushing.flush([process.gate], DatabaseStore())
    return row().total_successes, row().total_failures


def test_calls_count_as_slow_while_they_hang(clock: Clock) -> None:
    CircuitFactory(name="payments", slow_call_seconds=0.5, threshold=2)
    process = Process()
    hanging = [asking.admit(process.gate) for _ in range(3)]
    clock.pass_by(0.375)
    process.tend()
    assert row().failure_count == 0
    clock.pass_by(0.125)
    process.tend()
    assert (row().state, row().last_error) == ("open", "SlowCall: under way for 0.5 seconds")
    with pytest.raises(circuits.CircuitOpenError):
        asking.admit(process.gate)
    assert len(hanging) == 3


def test_a_call_counts_once_whatever_it_ends_with(clock: Clock, told: list[str]) -> None:
    CircuitFactory(name="payments", slow_call_seconds=0.5)
    process = Process()
    calls = [asking.admit(process.gate) for _ in range(3)]
    clock.pass_by(0.5)
    process.tend()
    clock.pass_by(1)
    results.fail(calls[0], "timed out")
    results.release(calls[1])
    results.succeed(calls[2])
    assert (row().failure_count, row().last_error) == (3, "SlowCall: under way for 0.5 seconds")
    assert totals(process) == (0, 3)
    assert told == ["failure after 1.5"] * 3
    assert process.tend() == FOREVER


def three_hang(clock: Clock) -> tuple[list[Process], list[Ticket]]:
    """Let a call in each of three processes become overdue while the run is too young."""
    CircuitFactory(name="payments", slow_call_seconds=0.5, threshold=3)
    processes = [Process() for _ in range(3)]
    tickets = [asking.admit(process.gate) for process in processes]
    clock.pass_by(0.5)
    for process in processes:
        process.tend()
    assert (row().state, row().failure_count) == ("closed", 3)
    return processes, tickets


def test_calls_that_each_hang_in_a_process_open_it_once_the_run_is_old_enough(
    clock: Clock,
) -> None:
    """There is no further failure by which the run would be found old enough."""
    processes, _ = three_hang(clock)
    process = processes[-1]
    assert process.underway.next_look() == clock.now + 0.2
    clock.pass_by(0.2)
    let_run_age()
    assert process.tend() == FOREVER
    assert row().state == "open"
    assert row().failure_count == 3


def test_calls_that_hang_in_one_process_open_it_unless_another_refutes_that_in_time(
    clock: Clock, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 0}
    CircuitFactory(name="payments", slow_call_seconds=0.5, threshold=3)
    with clocks.database_clock(monkeypatch) as database:
        other, process = Process(), Process()
        results.succeed(asking.admit(other.gate))
        assert totals(other) == (1, 0)
        hanging = [asking.admit(process.gate) for _ in range(3)]
        monkeypatch.setattr(gate, "JUDGE_SECONDS", 8.0)  # longer than a busy machine takes
        for seconds, state in ((0.5, "closed"), (8.0, "open")):
            clock.pass_by(seconds)
            database.jump(seconds)
            process.tend()
            assert (row().state, row().accuser) == (state, process.gate.process)
    assert len(hanging) == 3


def test_a_call_that_ends_meanwhile_leaves_a_young_run_alone(clock: Clock) -> None:
    processes, tickets = three_hang(clock)
    for ticket in tickets:
        results.succeed(ticket)
    clock.pass_by(0.2)
    let_run_age()
    assert [process.tend() for process in processes] == [FOREVER] * 3
    assert row().state == "closed"


def test_a_call_that_still_hangs_changes_nothing_where_a_success_has_cleared_the_run(
    clock: Clock,
) -> None:
    processes, _ = three_hang(clock)
    circuits.get("payments").reset()
    clock.pass_by(0.2)
    before = row().generation
    for process in processes:
        process.tend()
    assert (row().state, row().generation, row().failure_count) == ("closed", before, 0)


def let_run_age() -> None:
    """Let the database's time pass, as the process's has."""
    began = F("run_started_at") - timedelta(seconds=0.2)
    Circuit.objects.update(run_started_at=began)


def test_a_call_that_ends_in_time_is_none_to_look_after(clock: Clock) -> None:
    CircuitFactory(name="payments", slow_call_seconds=0.5)
    process = Process()
    ticket = asking.admit(process.gate)
    clock.pass_by(0.375)
    results.succeed(ticket)
    clock.pass_by(10)
    assert process.tend() == FOREVER
    assert totals(process) == (1, 0)


def test_without_slow_call_seconds_nothing_is_looked_after(clock: Clock) -> None:
    CircuitFactory(name="payments")
    process = Process()
    asking.admit(process.gate)
    assert asking.admit(process.gate) is process.gate.view.leave
    assert process.underway.next_look() == FOREVER


def test_a_hanging_trial_opens_the_circuit_again(clock: Clock) -> None:
    CircuitFactory(name="payments", expired=True, slow_call_seconds=0.5)
    process = Process()
    ticket = asking.admit(process.gate)
    clock.pass_by(0.5)
    process.tend()
    assert row().state == "open"
    assert row().transitions.latest("id").reason == "trial_failed"
    results.succeed(ticket)
    assert (row().state, row().reopen_count) == ("open", 1)


@pytest.mark.parametrize("strategy", ["consecutive", "rate"])
def test_what_a_caller_does_between_two_reads_of_a_body_is_left_out(
    strategy: str, clock: Clock
) -> None:
    CircuitFactory(
        name="payments", strategy=strategy, slow_call_seconds=0.5, threshold=1, minimum_calls=1
    )
    process = Process()
    ticket = asking.admit(process.gate)
    clock.pass_by(0.25)
    ticket.pause()
    for _ in range(3):
        clock.pass_by(10)
        process.tend()
    ticket.go_on()
    assert process.underway.next_look() == clock.now + 0.25
    clock.pass_by(0.125)
    process.tend()
    assert row().state == "closed"
    clock.pass_by(0.125)
    process.tend()
    assert row().state == "open"


def test_a_body_that_a_caller_goes_on_with_too_late_is_looked_at_soon(clock: Clock) -> None:
    """It is not checked at once, or each part of a body would wake the background thread."""
    CircuitFactory(name="payments", slow_call_seconds=0.5)
    process = Process()
    ticket = asking.admit(process.gate)
    clock.pass_by(0.4999)
    ticket.pause()
    clock.pass_by(10)
    process.tend()
    ticket.go_on()
    assert process.underway.next_look() == clock.now + PAUSE


def test_overdue_calls_fill_the_window_of_the_rate_strategy(clock: Clock) -> None:
    CircuitFactory(
        name="payments",
        strategy="rate",
        slow_call_seconds=0.5,
        slow_call_rate=0.5,
        minimum_calls=4,
    )
    process = Process()
    for _ in range(2):
        results.succeed(asking.admit(process.gate))
    hanging = [asking.admit(process.gate) for _ in range(2)]
    clock.pass_by(0.5)
    process.tend()
    assert row().state == "open"
    assert row().transitions.latest("id").reason == "slow_calls"
    for ticket in hanging:
        results.fail(ticket, "timed out")


def test_by_the_rate_a_call_stands_in_the_totals_as_what_it_ended_with(
    clock: Clock, told: list[str]
) -> None:
    CircuitFactory(name="payments", strategy="rate", slow_call_seconds=0.5, minimum_calls=100)
    process = Process()
    calls = [asking.admit(process.gate) for _ in range(3)]
    clock.pass_by(0.5)
    process.tend()
    assert totals(process) == (0, 0)
    results.succeed(calls[0])
    results.fail(calls[1], "timed out")
    results.release(calls[2])
    assert totals(process) == (1, 1)
    assert row().last_error == "timed out"
    assert told == ["success after 0.5", "failure after 0.5", "ignored after 0.5"]
    buckets = [sum(counts) for counts in zip(*row().window["buckets"], strict=True)]
    assert buckets[1:] == [3, 0, 3], "three calls, none failed, all slow"


def test_what_an_overdue_answer_asks_for_is_heeded(clock: Clock) -> None:
    CircuitFactory(name="payments", slow_call_seconds=0.5, respect_retry_after=True)
    process = Process()
    ticket = asking.admit(process.gate)
    clock.pass_by(0.5)
    process.tend()
    results.fail(ticket, "HTTP 503", retry_after=60)
    assert (row().state, row().transitions.latest("id").reason) == ("open", "retry_after")


def test_a_look_takes_on_so_many_calls_and_leaves_the_rest_to_the_next(clock: Clock) -> None:
    CircuitFactory(name="payments", slow_call_seconds=0.5, threshold=1000)
    process = Process()
    for _ in range(MOST_AT_ONCE + 1):
        asking.admit(process.gate)
    clock.pass_by(0.5)
    assert process.tend() == clock.now + PAUSE
    assert row().failure_count == MOST_AT_ONCE
    clock.pass_by(PAUSE)
    process.tend()
    assert row().failure_count == MOST_AT_ONCE + 1


# In the background


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_pulse_wakes_up_for_the_earliest_look(share: float) -> None:
    """A later moment that is added afterwards does not postpone it."""
    seen: list[float] = []

    def tend() -> float:
        seen.append(monotonic())
        return FOREVER

    pulse = Pulse(lambda: False, lambda: None, tend=tend)
    pulse.ensure_running()
    try:
        wait_until(pulse.is_running)
        at = monotonic() + share
        pulse.tend_by(at + 3600)
        pulse.tend_by(at)
        pulse.tend_by(at + 3600)
        wait_until(lambda: seen)
        assert seen[0] >= at
        pulse.tend_by(monotonic())
        wait_until(lambda: len(seen) == 2)
    finally:
        pulse.stop()
