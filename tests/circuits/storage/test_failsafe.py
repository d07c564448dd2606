"""The site goes on while the circuits' database is gone, and returns to the shared state."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Lock
from typing import Any

import pytest
from django.db import DataError, Error, OperationalError, connections
from pytest_django import Settings

import circuits
from circuits import once_a_minute
from circuits.core.status import Change, Mode, Reason, State, Step
from circuits.models import Circuit, Transition
from circuits.moments import to_seconds
from circuits.process import entry, results, runtime
from circuits.storage.contract import NO_NOTE, Changed, Note, Snapshot, Tally
from circuits.storage.database import DatabaseStore
from circuits.storage.errors import InDoubtError
from circuits.storage.failsafe import FailSafeStore
from circuits.storage.memory import MemoryStore
from tests.calls import fail, refusal, succeed, under_way
from tests.clock import Clock
from tests.concurrency import in_threads
from tests.factories import CircuitFactory
from tests.outage import cut_connection, no_database

pytestmark = pytest.mark.usefixtures("committed")

#: Seconds after which every snapshot has aged.
AGED = 0.5

#: Seconds after which a failed database is tried again (``STORE_RETRY_SECONDS``).
RETRY = 1.0


def row() -> Any:
    return Circuit.objects.get(name="payments")


def set_circuits(settings: Settings, **values: Any) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, **values}


# Going on alone


def test_calls_go_on_under_the_last_known_policy(clock: Clock) -> None:
    CircuitFactory(name="payments", threshold=2, delay=7)
    succeed("payments")
    with no_database():
        clock.pass_by(AGED)
        succeed("payments")
        fail("payments", 2)
        assert refusal("payments").retry_after == pytest.approx(7)
        clock.pass_by(7)
        succeed("payments")
        assert circuits.get("payments").state is State.CLOSED
        fail("payments")
        succeed("payments")
        fail("payments")
        assert circuits.get("payments").state is State.CLOSED, "they were not in a row"


def test_a_circuit_never_seen_goes_on_under_the_settings(clock: Clock, settings: Settings) -> None:
    set_circuits(
        settings,
        DEFAULTS={"threshold": 3},
        CIRCUITS={"payments": {"delay": 4.0, "probe_url": "http://remote/", "timeout": 2.5}},
    )
    with no_database():
        fail("payments", 3)
        assert refusal("payments").retry_after == pytest.approx(4)
        assert runtime.gate("payments").view.timeout == 2.5


def test_there_are_no_more_circuits_in_memory_than_allowed(settings: Settings) -> None:
    set_circuits(settings, MAX_CIRCUITS=1)
    with no_database():
        succeed("payments")
        with pytest.raises(circuits.TooManyCircuitsError):
            succeed("orders")
        succeed("payments")


def test_an_open_circuit_stays_open_when_the_database_goes(clock: Clock) -> None:
    fail("payments", 5)
    with no_database():
        clock.pass_by(AGED)
        assert refusal("payments").retry_after == pytest.approx(10 - AGED, abs=0.1)
        clock.pass_by(9)
        assert refusal("payments").retry_after == pytest.approx(1 - AGED, abs=0.1)


def test_a_forced_circuit_stays_forced_when_the_database_goes(clock: Clock) -> None:
    CircuitFactory(name="payments", mode=Mode.FORCED_OPEN, opened=True)
    refusal("payments")
    with no_database():
        clock.pass_by(60)
        refusal("payments")


def test_a_process_lets_one_trial_at_a_time_through_in_memory(clock: Clock) -> None:
    fail("payments", 5)
    with no_database():
        clock.pass_by(11)
        with under_way("payments"):
            assert 0 < refusal("payments").retry_after <= 1
        assert circuits.get("payments").state is State.CLOSED


def test_a_trial_that_fails_in_memory_opens_again(clock: Clock) -> None:
    fail("payments", 5)
    with no_database():
        clock.pass_by(11)
        fail("payments")
        assert refusal("payments").retry_after == pytest.approx(10)


def test_changes_in_memory_are_logged(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with no_database():
        fail("payments", 5)
    assert (
        "Changed state from closed to open (payments): failures; next trial in 10.0 s"
        in caplog.text
    )


# Coming back


def test_the_shared_state_counts_again_by_itself(clock: Clock) -> None:
    succeed("payments")
    with no_database():
        clock.pass_by(AGED)
        fail("payments", 5)
        refusal("payments")
    clock.pass_by(RETRY)
    succeed("payments")
    assert circuits.get("payments").state is State.CLOSED
    assert Transition.objects.count() == 0


def test_what_others_did_meanwhile_counts_again_by_itself(clock: Clock) -> None:
    succeed("payments")
    Circuit.objects.update(mode=Mode.FORCED_OPEN)
    with no_database():
        clock.pass_by(AGED)
        succeed("payments")
    clock.pass_by(RETRY)
    refusal("payments")


def test_a_second_outage_goes_on_from_what_was_shared_last(clock: Clock) -> None:
    succeed("payments")
    for _ in range(2):
        with no_database():
            clock.pass_by(AGED)
            fail("payments", 4)
            assert circuits.get("payments").state is State.CLOSED
        clock.pass_by(RETRY)
        succeed("payments")


def test_no_outcome_is_counted_twice(clock: Clock) -> None:
    fail("payments", 2)
    succeed("payments")
    with no_database():
        clock.pass_by(AGED)
        succeed("payments", 3)
        fail("payments", 4)
    clock.pass_by(RETRY)
    fail("payments")
    for _ in range(2):
        circuits.flush()
    assert (row().total_failures, row().failure_count) == (3, 1)
    assert row().total_successes == 4


def test_a_permit_from_before_the_outage_counts_nowhere(clock: Clock) -> None:
    before = entry.admit("payments")
    with no_database():
        clock.pass_by(AGED)
        fail("payments", 4)
        results.fail(before, "too late")
        assert circuits.get("payments").state is State.CLOSED


def test_a_permit_from_the_outage_counts_nowhere(clock: Clock) -> None:
    succeed("payments")
    with no_database():
        clock.pass_by(AGED)
        during = [entry.admit("payments") for _ in range(10)]
    clock.pass_by(RETRY)
    succeed("payments")
    for ticket in during:
        results.fail(ticket, "too late")
    assert (row().total_failures, row().state) == (0, "closed")


def test_a_trial_from_the_outage_closes_no_shared_circuit(clock: Clock) -> None:
    fail("payments", 5)
    with no_database():
        clock.pass_by(11)
        trial = entry.admit("payments")
    clock.pass_by(RETRY)
    results.succeed(trial)
    assert row().state == "open"


def test_a_success_from_the_outage_is_written_down_with_no_wrong_time(clock: Clock) -> None:
    CircuitFactory(name="payments")
    with no_database():
        succeed("payments")
    circuits.flush()
    assert row().total_successes == 1
    at = row().last_success_at
    assert at is None or abs(to_seconds(at) - DatabaseStore().now()) < 5


def test_a_connection_that_died_is_replaced(clock: Clock) -> None:
    succeed("payments")
    cut_connection()
    clock.pass_by(AGED)
    succeed("payments")
    Circuit.objects.update(mode=Mode.FORCED_OPEN)
    clock.pass_by(RETRY)
    refusal("payments")


@pytest.mark.parametrize("on_error", ["local", "raise"])
def test_a_batch_for_the_rate_that_met_the_outage_is_merged_after_it(
    clock: Clock, settings: Settings, on_error: str
) -> None:
    set_circuits(settings, ON_STORE_ERROR=on_error)
    CircuitFactory(name="payments", strategy="rate", minimum_calls=1000)
    succeed("payments", 4)
    fail("payments", 2)
    with no_database(), pytest.raises(Error):
        circuits.flush()
    with no_database(), suppress(Error):
        clock.pass_by(AGED)
        succeed("payments")  # under a window in memory, or refused
    clock.pass_by(RETRY)
    succeed("payments")
    for _ in range(2):
        circuits.flush()
    # The two may have been merged into different buckets.
    buckets = row().window["buckets"]
    assert [sum(counts) for counts in zip(*buckets, strict=True)][1:3] == [7, 2]


# The database is left alone meanwhile


class CountingStore(DatabaseStore):
    """A store that counts its reads, and the writes that check whether it is back."""

    def __init__(self) -> None:
        super().__init__()
        self.tries = 0
        self._lock = Lock()

    def read(self, name: str, known: Snapshot | None = None) -> Snapshot:
        self._count()
        return super().read(name, known)

    def touch(self, name: str) -> None:
        self._count()
        super().touch(name)

    def _count(self) -> None:
        with self._lock:
            self.tries += 1


def test_a_failed_database_is_tried_again_by_one_thread_at_a_time(clock: Clock) -> None:
    shared = CountingStore()
    store = FailSafeStore(shared, MemoryStore(clock=clock), clock)

    def read(index: int) -> None:
        store.revive("payments")
        store.read("payments")

    with no_database():
        read(0)
        in_threads(20, read)
        assert shared.tries == 1, "it is left alone"
        clock.pass_by(RETRY)
        in_threads(20, read)
        assert shared.tries == 2


# What is logged about it


def test_an_outage_is_logged_once_a_minute_and_its_end_once(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "circuits")
    with no_database():
        for _ in range(150):
            succeed("payments")
            clock.pass_by(RETRY)
    outage = [message for message in caplog.messages if "does not answer" in message]
    assert len(outage) == 3
    caplog.clear()
    for _ in range(3):
        succeed("payments")
        clock.pass_by(RETRY)
    assert caplog.messages == ["The circuits' database answers again; the shared state counts."]


def test_a_failing_flush_is_logged_too(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    succeed("payments")
    with no_database(), pytest.raises(Error):
        circuits.flush()
    assert "does not answer" in caplog.text


# A site that would rather have the error (ON_STORE_ERROR)


def test_a_site_may_choose_that_the_error_is_raised(clock: Clock, settings: Settings) -> None:
    set_circuits(settings, ON_STORE_ERROR="raise")
    with no_database():
        for _ in range(2):
            with pytest.raises(OperationalError):
                succeed("payments")
    succeed("payments")


def test_a_flush_that_failed_does_not_keep_the_error_from_being_raised(
    clock: Clock, settings: Settings
) -> None:
    set_circuits(settings, ON_STORE_ERROR="raise")
    succeed("payments")
    with no_database():
        with pytest.raises(OperationalError):
            circuits.flush()
        clock.pass_by(AGED)
        with pytest.raises(OperationalError):
            succeed("payments")


# A statement that fails while the database is well


def test_a_failure_that_cannot_be_written_fails_no_call(clock: Clock) -> None:
    succeed("payments")

    def refuse(execute: Callable[..., Any], *args: Any) -> Any:
        raise OperationalError("the disk is full")

    with connections["circuits"].execute_wrapper(refuse):
        fail("payments")
    assert row().total_failures == 0
    clock.pass_by(RETRY)
    fail("payments")
    assert row().total_failures == 1


# By itself, with a database that fails as told


class Failing(DatabaseStore):
    """A store whose database fails with one error at each question, as long as there is one."""

    def __init__(self, error: Error | None = None) -> None:
        super().__init__()
        self.error, self.asked = error, 0

    def _ask(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error

    def read(self, name: str, known: Snapshot | None = None) -> Snapshot:
        self._ask()
        return super().read(name, known)

    def read_all(self, names: Sequence[str]) -> Mapping[str, Snapshot]:
        self._ask()
        return super().read_all(names)

    def change(
        self, name: str, decide: Callable[[Snapshot], Any], note: Note = NO_NOTE
    ) -> Changed[Any]:
        self._ask()
        return super().change(name, decide, note)

    def flush(self, tallies: Sequence[Tally]) -> Sequence[Changed[Step] | None]:
        self._ask()
        return super().flush(tallies)

    def touch(self, name: str) -> None:
        self._ask()
        super().touch(name)


OUTAGE = OperationalError("no answer")
BAD_VALUE = DataError("this encoding lacks a character")


@pytest.fixture
def shared() -> Failing:
    return Failing()


@pytest.fixture
def store(shared: Failing, clock: Clock) -> FailSafeStore:
    once_a_minute.forget()
    return FailSafeStore(shared, MemoryStore(clock=clock), clock)


def count(row: Snapshot) -> Step:
    return Step(replace(row.status, failure_count=row.status.failure_count + 1))


def tally(name: str = "payments") -> Tally:
    return Tally(name=name, at=None, successes=1, failures=0, refused={}, last_success_at=None)


def test_a_batch_is_merged_into_the_shared_circuit(store: FailSafeStore) -> None:
    merged = store.merge("payments", count, Note(error="it is down"))
    assert merged is not None
    assert merged.after.is_shared
    assert (row().failure_count, row().last_error) == (1, "it is down")


def test_a_batch_is_kept_while_the_database_does_not_answer(
    store: FailSafeStore, shared: Failing
) -> None:
    shared.error = OUTAGE
    assert store.merge("payments", count) is None
    assert store.merge("payments", count) is None
    assert shared.asked == 1, "it is left alone after that"
    assert store.memory.find("payments") is None


def test_a_batch_that_may_have_been_merged_goes_on_in_memory(
    store: FailSafeStore, shared: Failing
) -> None:
    shared.error = InDoubtError("the connection is lost")
    merged = store.merge("payments", count, Note(error="it is down"))
    assert merged is not None
    assert not merged.after.is_shared
    assert (merged.after.status.failure_count, merged.error) == (1, "it is down")
    kept = store.memory.find("payments")
    assert kept is not None
    assert kept.status.failure_count == 1


@pytest.mark.parametrize("error", [OUTAGE, InDoubtError("the connection is lost")])
def test_the_error_of_a_batch_is_raised_where_the_site_wants_errors(
    store: FailSafeStore, shared: Failing, settings: Settings, error: Error
) -> None:
    set_circuits(settings, ON_STORE_ERROR="raise")
    shared.error = error
    for _ in range(2):
        with pytest.raises(type(error)):
            store.merge("payments", count)
    assert shared.asked == 2


def test_of_many_circuits_none_is_known_while_the_database_does_not_answer(
    store: FailSafeStore, shared: Failing, caplog: pytest.LogCaptureFixture
) -> None:
    CircuitFactory(name="payments")
    assert set(store.read_all(["payments"])) == {"payments"}
    shared.error = OUTAGE
    assert store.read_all(["payments"]) == {}
    assert store.is_left
    assert caplog.messages == [
        "The circuits' database does not answer; this process goes on by itself: "
        "OperationalError: no answer"
    ]


def test_the_line_about_an_outage_says_what_to_do_if_it_is_known(
    store: FailSafeStore, shared: Failing, caplog: pytest.LogCaptureFixture
) -> None:
    shared.error = OperationalError("no such table: circuits_circuit")
    store.read("payments")
    (line,) = caplog.messages
    assert "OperationalError: no such table: circuits_circuit Run manage.py migrate with" in line


def test_a_circuit_whose_values_cannot_be_stored_is_in_memory_alone(
    store: FailSafeStore, shared: Failing, caplog: pytest.LogCaptureFixture
) -> None:
    shared.error = BAD_VALUE
    for _ in range(2):
        assert not store.read("payments").is_shared
    with pytest.raises(DataError):
        store.flush([tally()])
    assert not store.is_left, "the database works"
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "ERROR",
        "The circuits' database cannot keep a value; this process goes on by itself with its "
        "circuit: DataError: this encoding lacks a character",
    )
    shared.error = None
    assert store.read("payments").is_shared


def test_a_flush_that_meets_an_outage_leaves_the_database_alone(
    store: FailSafeStore, shared: Failing, caplog: pytest.LogCaptureFixture
) -> None:
    shared.error = OUTAGE
    with pytest.raises(OperationalError, match="no answer"):
        store.flush([tally()])
    assert "does not answer; this process goes on by itself: OperationalError: no" in caplog.text
    assert store.is_left
    assert not store.read("payments").is_shared
    assert shared.asked == 1


def test_a_database_is_tried_again_in_time_and_once(
    store: FailSafeStore, shared: Failing, clock: Clock
) -> None:
    store.revive("payments")
    assert shared.asked == 0, "it has not failed"
    shared.error = OUTAGE
    store.read("payments")
    clock.pass_by(RETRY - 0.1)
    store.revive("payments")
    assert shared.asked == 1
    clock.pass_by(0.1)
    store.revive("payments")
    assert (shared.asked, store.is_left) == (2, True)
    store.revive("payments")
    assert shared.asked == 2, "it failed once more, and is left alone"
    clock.pass_by(RETRY)
    shared.error = None
    store.revive("payments")
    assert (shared.asked, store.is_left) == (3, False)


def test_a_value_that_cannot_be_stored_does_not_tell_whether_the_database_is_back(
    store: FailSafeStore, shared: Failing, clock: Clock
) -> None:
    shared.error = OUTAGE
    store.read("payments")
    clock.pass_by(RETRY)
    shared.error = BAD_VALUE
    store.revive("päyments")
    assert (shared.asked, store.is_left) == (2, True)
    store.revive("payments")
    assert shared.asked == 2
    clock.pass_by(RETRY)
    shared.error = None
    store.revive("payments")
    assert not store.is_left


def test_what_was_in_memory_is_forgotten_when_the_database_is_back(
    store: FailSafeStore, shared: Failing, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    shared.error = OUTAGE
    store.change("payments", count)
    assert store.read("payments").status.failure_count == 1
    clock.pass_by(RETRY)
    shared.error = None
    caplog.clear()
    store.revive("payments")
    assert store.memory.find("payments") is None
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "The circuits' database answers again; the shared state counts.")
    ]


def test_a_silent_database_is_left_alone_from_the_first_look(
    shared: Failing, clock: Clock, caplog: pytest.LogCaptureFixture, settings: Settings
) -> None:
    silent = [True]
    store = FailSafeStore(shared, MemoryStore(clock=clock), clock, is_silent=lambda: silent[0])
    set_circuits(settings, ON_STORE_ERROR="raise")
    assert store.read("payments").is_shared
    set_circuits(settings, ON_STORE_ERROR="local")
    assert not store.read("payments").is_shared
    assert shared.asked == 1
    assert "SilentError: it has been asked and does not answer" in caplog.text


def test_all_is_prepared_before_the_database_is_asked(shared: Failing, clock: Clock) -> None:
    prepared: list[int] = []
    store = FailSafeStore(
        shared, MemoryStore(clock=clock), clock, prepare=lambda: prepared.append(shared.asked)
    )
    store.revive("payments")
    store.read("payments")
    store.flush([tally()])
    store.steer("payments", count, NO_NOTE)
    assert prepared == [0, 0, 1, 2]


def test_a_pinned_store_asks_no_database(store: FailSafeStore, shared: Failing) -> None:
    shared.error = OUTAGE
    store.pinned = True
    change = Change(
        State.CLOSED, State.OPEN, Mode.AUTOMATIC, Mode.AUTOMATIC, 3, Reason.RESET, at=1000.0
    )

    def open_it(row: Snapshot) -> Step:
        return Step(replace(row.status, state=State.OPEN, retry_at=2000.0), change)

    note = Note(actor="ann", reason="maintenance")
    for operate in (store.change, store.steer):
        done = operate("payments", open_it, note)
        assert done.transition is not None
        assert done.transition.circuit.name == "payments"
        assert (done.transition.actor, done.transition.detail) == ("ann", "maintenance")
        assert done.transition.pk is None
    assert store.flush([tally(), tally("mail")]) == [None, None]
    assert store.steer("payments", count, note).transition is None
    found = store.find("payments")
    assert found is not None
    assert found.status.state is State.OPEN
    assert store.find("nowhere") is None
    assert shared.asked == 0
