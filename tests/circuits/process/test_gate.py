"""One circuit as one process sees it: snapshots that age, late results, leases and tallies."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from datetime import timedelta
from functools import partial
from random import Random
from threading import Event, Lock, get_ident
from time import time
from typing import Any

import pytest
from django.db import Error, connections
from django.utils import timezone
from pytest_django import Settings

import circuits
from circuits.core.status import Mode, Witness
from circuits.exceptions import CircuitOpenError
from circuits.models import Circuit, Minute, Transition
from circuits.process import asking, entry, flushing, results, runtime
from circuits.process import gate as gates
from circuits.process.gate import Gate, Ticket
from circuits.process.tallies import TickCounter
from circuits.process.underway import FOREVER
from circuits.storage.contract import Snapshot
from circuits.storage.database import DatabaseStore
from tests.calls import fail, refusal, succeed
from tests.clock import Clock
from tests.concurrency import PATIENCE, in_threads
from tests.factories import CircuitFactory
from tests.outage import no_database

pytestmark = pytest.mark.usefixtures("committed")


def process() -> Gate:
    """Return the gate of a new process."""
    return Gate("payments", DatabaseStore())


def write(gate: Gate) -> None:
    """Flush the tallies of the process."""
    flushing.flush([gate], DatabaseStore())


def row() -> Any:
    return Circuit.objects.get(name="payments")


def columns() -> dict[str, Any]:
    """Return all columns of the row."""
    return {**Circuit.objects.filter(name="payments").values().get()}


def strict(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 0}


# A snapshot ages


class WatchedStore(DatabaseStore):
    """A store that counts its reads, and can delay them."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.go = Event()
        self.go.set()
        self._lock = Lock()

    def read(self, name: str, known: Snapshot | None = None) -> Snapshot:
        with self._lock:
            self.reads += 1
        assert self.go.wait(PATIENCE / 4)
        return super().read(name, known)


def test_an_aged_snapshot_is_renewed_by_one_thread_for_all(clock: Clock) -> None:
    store = WatchedStore()
    gate = Gate("payments", store)
    asking.admit(gate)
    Circuit.objects.update(mode=Mode.FORCED_OPEN)
    store.reads = 0
    clock.pass_by(0.2)

    def work(index: int) -> None:
        with pytest.raises(circuits.CircuitOpenError):
            asking.admit(gate)

    in_threads(50, work)
    assert store.reads == 1


def test_of_many_threads_that_come_first_one_asks_the_database_for_all(clock: Clock) -> None:
    asked_by: set[int] = set()

    def record(execute: Callable[..., Any], *args: Any) -> Any:
        asked_by.add(get_ident())
        return execute(*args)

    def work(index: int) -> None:
        with connections["circuits"].execute_wrapper(record):
            succeed("payments")

    in_threads(50, work)
    assert Circuit.objects.count() == 1
    assert len(asked_by) == 1
    circuits.flush()
    assert row().total_successes == 50, "there is one gate, and it counted them all"


@pytest.mark.parametrize("column", ["state", "mode", "failure_count", "generation"])
def test_without_snapshots_whatever_others_change_is_seen_by_the_next_call(
    settings: Settings, clock: Clock, column: str
) -> None:
    strict(settings)
    succeed("payments")
    changes: dict[str, Any] = {
        "state": {"state": "open", "retry_at": timezone.now() + timedelta(hours=1)},
        "mode": {"mode": Mode.FORCED_OPEN},
        "failure_count": {"failure_count": 3},
        "generation": {"generation": 7},
    }
    Circuit.objects.update(**changes[column])
    with suppress(circuits.CircuitOpenError):
        entry.admit("payments")
    known = runtime.gate("payments").snapshot
    assert known is not None
    assert {getattr(known.status, key) for key in changes[column]} & {*changes[column].values()}


def test_without_snapshots_a_new_policy_counts_within_a_second(
    settings: Settings, clock: Clock
) -> None:
    strict(settings)
    succeed("payments")
    Circuit.objects.update(timeout=3)
    clock.pass_by(0.9)
    succeed("payments")
    assert runtime.gate("payments").view.timeout == 10
    clock.pass_by(0.2)
    succeed("payments")
    assert runtime.gate("payments").view.timeout == 3


def test_without_snapshots_each_trial_sees_the_one_before(settings: Settings) -> None:
    strict(settings)
    CircuitFactory.create(name="payments", expired=True)
    trial = entry.admit("payments")
    refusal("payments")
    results.release(Ticket(process(), trial.permit))
    results.succeed(entry.admit("payments"))
    assert row().state == "closed"


def test_a_change_by_others_is_seen_when_the_snapshot_has_aged(clock: Clock) -> None:
    succeed("payments")
    Circuit.objects.update(mode=Mode.FORCED_OPEN)
    succeed("payments")
    clock.pass_by(0.2)
    refusal("payments")


# Results that come late


@pytest.mark.parametrize("succeeds", [True, False], ids=["success", "failure"])
@pytest.mark.parametrize("knows", [True, False], ids=["known here", "unknown here"])
def test_a_result_of_an_older_generation_changes_nothing(knows: bool, succeeds: bool) -> None:
    gate = runtime.gate("payments") if knows else process()
    results.fail(asking.admit(gate), "the remote is down")
    late = asking.admit(gate)
    circuits.get("payments").observe()
    before = columns()
    results.succeed(late) if succeeds else results.fail(late, "too late")
    assert columns() == before
    assert (before["generation"], before["failure_count"]) == (1, 1)


def test_failures_of_calls_begun_before_the_opening_change_nothing() -> None:
    one, other = process(), process()
    late = [asking.admit(one), asking.admit(other)]
    for _ in range(5):
        results.fail(asking.admit(one), "the remote is down")
    before = columns()
    for ticket in late:
        results.fail(ticket, "too late")
    assert columns() == before
    assert before["state"] == "open"


@pytest.mark.parametrize("succeeds", [True, False], ids=["success", "failure"])
def test_a_trial_that_outlives_its_lease_decides_all_the_same(succeeds: bool) -> None:
    CircuitFactory(name="payments", expired=True)
    late = asking.admit(process())
    let_leases_expire()
    trial = asking.admit(process())
    results.succeed(late) if succeeds else results.fail(late, "timed out")
    after = columns()
    assert after["state"] == ("closed" if succeeds else "open")
    results.fail(trial, "too late: the generation of the trials is over")
    assert columns() == after


def test_a_trial_reported_twice_counts_once() -> None:
    CircuitFactory(name="payments", expired=True, success_threshold=2)
    trial = entry.admit("payments")
    results.succeed(trial)
    results.succeed(trial)
    assert (row().state, row().trial_successes) == ("half_open", 1)


# Leases


def let_leases_expire() -> None:
    leases = [[token, 0.0] for token, _ in row().leases]
    Circuit.objects.update(leases=leases)


def test_the_place_of_a_trial_whose_process_died_is_given_to_another() -> None:
    CircuitFactory(name="payments", expired=True)
    asking.admit(process())
    with pytest.raises(circuits.CircuitOpenError):
        asking.admit(process())
    let_leases_expire()
    results.succeed(asking.admit(process()))
    assert row().state == "closed"


def test_a_trial_that_came_to_nothing_gives_its_place_back() -> None:
    CircuitFactory(name="payments", expired=True)
    results.release(asking.admit(process()))
    assert (row().state, row().leases) == ("half_open", [])
    results.succeed(asking.admit(process()))
    assert row().state == "closed"


def test_a_call_that_came_to_nothing_asks_nothing(clock: Clock) -> None:
    succeed("payments")
    before = columns()
    results.release(entry.admit("payments"))
    assert columns() == before


# Observe


def test_observe_lets_pass_what_it_would_have_refused_and_counts_the_refusal() -> None:
    CircuitFactory(name="payments", opened=True, mode=Mode.OBSERVE)
    before = columns()
    fail("payments")
    succeed("payments")
    assert columns() == before
    circuits.flush()
    assert row().total_refusals == 2


def test_a_share_of_the_refusals_is_real_and_all_are_counted() -> None:
    CircuitFactory(name="payments", opened=True, enforce_share=0.25)
    gates.random.seed(17)
    real = 0
    for _ in range(200):
        try:
            fail("payments")
        except CircuitOpenError:
            real += 1
    assert 20 <= real <= 80
    circuits.flush()
    assert (row().state, row().total_refusals) == ("open", 200)


# Its clock and its ticket


def test_its_clock_is_that_of_the_database_once_it_has_answered(clock: Clock) -> None:
    gate = process()
    assert gate.clock() == pytest.approx(time(), abs=60), "before, that of this machine"
    known = asking.current(gate)
    clock.pass_by(3_600)
    assert gate.clock() == pytest.approx(known.now + 3_600)


def test_its_clock_in_memory_is_that_of_this_machine(clock: Clock) -> None:
    succeed("payments")
    with no_database():
        fail("payments")
        gate = runtime.gate("payments")
        assert gate.snapshot is not None
        assert not gate.snapshot.is_shared
        clock.pass_by(3_600)
        assert gate.clock() == pytest.approx(time(), abs=60)


def test_a_long_call_has_a_ticket_of_its_own_beside_the_one_that_plain_calls_share(
    clock: Clock,
) -> None:
    def begin_some() -> list[Ticket]:
        tickets = []
        for begin in [partial(entry.begin, now=clock.now)] * 3 + [entry.begin_own]:
            tickets.append(begin("payments"))
            results.succeed(tickets[-1])
        return tickets

    _first, second, third, own = Context().run(begin_some)  # with no call around it
    assert second is third
    assert own is not third
    assert not own.is_plain
    assert own.started_at > 0
    circuits.flush()
    assert row().total_successes == 4


# Tallies


def test_a_flush_that_fails_keeps_the_tally_and_the_next_writes_it_once() -> None:
    succeed("payments", 3)
    circuits.get("payments").force_open()
    refusal("payments")
    with no_database(), pytest.raises(Error):
        circuits.flush()
    for _ in range(2):
        circuits.flush()
    assert (row().total_successes, row().total_refusals) == (3, 1)


@pytest.mark.parametrize("seconds", [-1, 1])
def test_a_flush_dates_no_later_success_elsewhere_back(seconds: int) -> None:
    one = process()
    results.succeed(asking.admit(one))
    write(one)
    own = row().last_success_at
    elsewhere = own + timedelta(seconds=seconds)
    Circuit.objects.update(last_success_at=elsewhere, last_attempt_at=elsewhere)
    results.succeed(asking.admit(one))
    write(one)
    after = row()
    assert after.total_successes == 2
    assert after.last_success_at == after.last_attempt_at
    if seconds > 0:
        assert after.last_success_at == elsewhere
    else:
        assert after.last_success_at >= own


def test_a_success_is_dated_when_it_came_and_not_when_it_is_written(clock: Clock) -> None:
    gate = process()
    results.succeed(asking.admit(gate))
    clock.pass_by(60)
    write(gate)
    assert row().last_success_at < timezone.now() + timedelta(seconds=30)


def test_what_only_a_window_has_heard_is_written_and_counts_no_call() -> None:
    CircuitFactory.create(name="payments", strategy="rate")
    gate = process()
    asking.current(gate)
    assert gate.tallies.window is not None
    gate.tallies.window.hear(".")
    write(gate)
    after = row()
    assert (after.total_successes, after.total_failures, after.total_refusals) == (0, 0, 0)
    assert after.last_success_at is None
    [bucket] = after.window["buckets"]
    assert bucket[1:] == [1, 0, 0]


def test_what_could_not_be_merged_at_once_is_merged_by_the_next_flush() -> None:
    CircuitFactory.create(name="payments", strategy="rate", minimum_calls=3)
    gate = process()
    for _ in range(2):
        results.fail(asking.admit(gate), "down")
    Circuit.objects.update(window={"buckets": "none", "recent": 7})
    with pytest.raises(TypeError):
        results.fail(asking.admit(gate), "down")
    Circuit.objects.update(window=None)
    assert row().state == "closed"
    write(gate)
    assert row().state == "open"


def test_a_failure_whose_circuit_changes_while_it_is_reported_counts_in_no_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Meanwhile(Random):
        """The chance that a report draws, just after another thread has heard of a change."""

        def random(self) -> float:
            circuits.get("payments").observe()
            gate.take(gate.store.read("payments"))
            return 0.5

    CircuitFactory.create(name="payments", strategy="rate", minimum_calls=100)
    gate = process()
    ticket = asking.admit(gate)
    monkeypatch.setattr(gates, "random", Meanwhile())
    results.fail(ticket, "down")
    assert gate.tallies.window is not None
    assert gate.tallies.window.generation == 1
    assert not gate.tallies.window.holds_any()
    assert row().last_error == ""


def test_refusals_are_written_to_the_opening_that_they_are_of() -> None:
    fail("payments", 5)
    refusal("payments")
    circuits.get("payments").force_open()
    for _ in range(2):
        refusal("payments")
    circuits.flush()
    refusals = Transition.objects.order_by("generation").values_list("generation", "refusals")
    assert list(refusals) == [(1, 1), (2, 2)]


def test_a_flush_writes_what_came_of_the_calls_of_its_minute() -> None:
    succeed("payments", 2)
    fail("payments")
    circuits.get("payments").force_open()
    for _ in range(3):
        refusal("payments")
    circuits.flush()
    counted = Minute.objects.values_list("successes", "failures", "refusals")
    assert [sum(each) for each in zip(*counted, strict=True)] == [2, 1, 3]


def test_the_counter_is_exact_under_many_threads() -> None:
    counter = TickCounter()
    taken: list[int] = []

    def work(index: int) -> None:
        for _ in range(5000):
            next(counter.ticks)
            if index == 0:
                taken.append(counter.take())

    in_threads(8, work)
    assert sum(taken) + counter.take() == 8 * 5000
    assert counter.take() == 0


def test_the_counter_takes_again_what_was_given_back() -> None:
    counter = TickCounter()
    for _ in range(3):
        next(counter.ticks)
    counter.give_back(counter.take())
    next(counter.ticks)
    assert counter.take() == 4


# The time of a call


def test_a_paused_call_takes_no_time_and_is_not_looked_at_before_it_goes_on(clock: Clock) -> None:
    CircuitFactory.create(name="payments", slow_call_seconds=5)
    gate = process()
    ticket = asking.admit(gate)
    assert (ticket.is_watched, ticket.look_at) == (True, clock.now + 5)
    clock.pass_by(1)
    ticket.pause()
    clock.pass_by(60)
    assert ticket.seconds(clock.now) == 1
    assert not results.is_slow(ticket)
    ticket.look_at = FOREVER  # as the pulse sets it during the pause
    ticket.go_on()
    assert ticket.look_at == clock.now + 4
    clock.pass_by(2)
    ticket.go_on()  # which changes nothing, since it is not paused
    assert ticket.seconds(clock.now) == 3
    clock.pass_by(2)
    assert results.is_slow(ticket)
    results.succeed(ticket)
    assert row().last_error == "SlowCall: it took 5.0 seconds"
    assert gate.underway.next_look() == FOREVER


def test_the_ticket_that_plain_calls_share_has_no_pause() -> None:
    gate = process()
    asking.admit(gate)
    shared = gate.view.leave
    shared.pause()
    assert shared.paused_at == 0
    shared.go_on()
    assert shared.started_at == 0


def test_a_timed_call_gives_no_place_back_that_it_has_not_taken() -> None:
    CircuitFactory.create(name="payments", slow_call_seconds=5)
    gate = process()
    for _ in range(2):  # the second is answered from memory
        results.succeed(asking.admit(gate))
    assert gate.places.taken == 0


def test_a_call_is_counted_by_whoever_takes_it_first(clock: Clock) -> None:
    CircuitFactory.create(name="payments", slow_call_seconds=5)
    ticket = asking.admit(process())
    assert ticket.count()
    assert ticket.is_counted
    assert not ticket.count(), "it was taken"
    ticket.watch_on(clock.now + 1)
    assert ticket.look_at == clock.now + 1
    ticket.has_ended = True
    ticket.watch_on(clock.now + 2)
    assert ticket.gate.underway.next_look() == FOREVER


def test_a_refusal_says_the_circuit_the_wait_and_whether_this_process_is_alone() -> None:
    gate = process()
    heard: list[tuple[str, float]] = []
    gate.observe = lambda outcome, seconds: heard.append((outcome, seconds))
    alone, busy = gate.refused(3.0, is_alone=True), gate.refused(1.0, "busy")
    assert (alone.name, alone.retry_after, alone.is_alone) == ("payments", 3.0, True)
    assert (busy.name, busy.retry_after, busy.is_alone) == ("payments", 1.0, False)
    assert (type(alone), type(busy)) == (circuits.CircuitOpenError, circuits.CircuitBusyError)
    assert heard == [("refused", 0.0)] * 2
    taken = gate.tallies.take()
    assert taken is not None
    assert sum(taken.refused.values()) == 2


def test_a_circuit_that_is_not_known_yet_does_not_fail_for_this_process() -> None:
    gate = process()
    assert not gate.fails_for_this_process()
    for fails in (False, True):
        for _ in range(4 - 3 * fails):
            results.fail(asking.admit(gate), "the remote is down")
        assert gate.fails_for_this_process() is fails


def test_a_circuit_without_injected_faults_has_none() -> None:
    gate = process()
    assert gate.fault() is None
    asking.admit(gate)
    assert gate.fault() is None


def test_this_process_is_a_witness_that_judges_by_the_settings(
    settings: Settings, clock: Clock
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 0.5, "FLUSH_SECONDS": 20}
    gate = process()
    assert gate.witness == Witness(
        process=gate.process, judge_seconds=0.5, recent_seconds=40, succeeded_at=None
    )
    known = asking.current(gate)
    gate.tallies.succeeded_at = clock.now + 7
    assert gate.witness.succeeded_at == pytest.approx(known.now + 7)
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 0, "FLUSH_SECONDS": 1}
    assert (gate.witness.judge_seconds, gate.witness.recent_seconds) == (0.2, 10.0)
