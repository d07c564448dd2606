"""A recording: it lasts for a while, and every process writes to it in batches, up to a limit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import Error
from django.utils import timezone

import circuits
from circuits.core.recording import Call, Ending
from circuits.exceptions import InvalidInputError
from circuits.models import Circuit, RecordedCalls, Recording
from circuits.moments import to_datetime
from circuits.process import observers, runtime, tapes
from circuits.steering import recording
from circuits.storage import recordings
from circuits.storage.database import DatabaseStore
from circuits.tasks import prune
from tests.calls import fail, refusal, succeed
from tests.clock import Clock, DatabaseClock, database_clock
from tests.concurrency import in_processes
from tests.factories import CircuitFactory
from tests.outage import no_database

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def circuit() -> Circuit:
    return CircuitFactory.create(name="payments", threshold=3)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseClock]:
    with database_clock(monkeypatch) as clock:
        clock.set(1_790_003_280.0)
        yield clock


def recorded() -> list[Ending]:
    """Return how the recorded calls of the one circuit ended."""
    found = recordings.find(Circuit.objects.get())
    return [] if found is None else [call.ending for call in recordings.read(found, 1_000)[0]]


GOOD, FAILED, NOTHING, REFUSED = Ending


def test_calls_are_recorded_in_their_order_while_a_recording_is_on(circuit: Circuit) -> None:
    succeed("payments", 2)
    recording.record("payments")
    succeed("payments", 2)
    fail("payments", 3)
    refusal("payments")
    circuits.get("payments").reset()
    with pytest.raises(KeyError), circuits.guard("payments", exceptions=ValueError):
        raise KeyError
    runtime.flush()
    assert recorded() == [GOOD, GOOD, FAILED, FAILED, FAILED, REFUSED, NOTHING]


def test_where_nothing_is_recorded_nobody_listens(circuit: Circuit) -> None:
    succeed("payments")
    assert not observers.listening()
    assert not tapes.any_runs()
    recording.record("payments")
    succeed("payments")
    assert observers.listening()
    recording.stop("payments")
    succeed("payments")
    assert not observers.listening()
    runtime.flush()
    assert not tapes.any_runs()
    assert recorded() == [GOOD]


def test_a_recording_ends_by_itself(circuit: Circuit, database: DatabaseClock) -> None:
    recording.record("payments", seconds=60)
    succeed("payments")
    database.jump(61)
    circuits.get("payments").observe()  # makes this process read the row again
    succeed("payments")
    runtime.flush()
    assert recorded() == [GOOD]
    assert not observers.listening()


def test_a_tape_goes_at_the_first_flush_after_its_recording_has_ended(
    circuit: Circuit, clock: Clock
) -> None:
    recording.record("payments", seconds=60)
    succeed("payments")
    tape = tapes.of("payments")
    assert tape is not None
    clock.now = tape.until - 0.125
    runtime.flush()
    assert tapes.any_runs()
    clock.now += 0.125
    runtime.flush()
    assert not tapes.any_runs()
    assert recorded() == [GOOD]


def test_each_process_writes_its_own_batches_and_they_are_read_by_time(circuit: Circuit) -> None:
    recording.record("payments")
    succeed("payments")
    runtime.forget()
    begun = recordings.find(circuit)
    assert begun is not None
    at = DatabaseStore().now()
    alias = DatabaseStore().alias
    assert recordings.add(alias, "payments", [Call(at + 2, 0.5, FAILED), Call(at + 6, 0.5, FAILED)])
    assert recordings.add(alias, "payments", [Call(at + 4, 0.5, GOOD), Call(at + 5, 4.0, NOTHING)])
    calls, left_out = recordings.read(begun, 1_000)
    assert [call.ending for call in calls] == [NOTHING, FAILED, GOOD, FAILED]
    assert left_out == 0
    assert RecordedCalls.objects.count() == 2
    assert recordings.read(begun, 2)[1] == 2


def test_what_processes_do_at_once_is_recorded_whole(circuit: Circuit) -> None:
    """Each process learns of the recording by itself, and writes its calls beside the others'."""
    recording.record("payments")
    in_processes(3, "call_and_flush", name="payments", times=10)
    assert recorded() == [GOOD] * 30
    found = recordings.find(circuit)
    assert found is not None
    ends = [call.ended_at for call in recordings.read(found, 1_000)[0]]
    assert ends == sorted(ends)


def test_an_outage_of_the_database_loses_nothing(circuit: Circuit) -> None:
    recording.record("payments")
    succeed("payments", 3)
    with no_database(), pytest.raises(Error):
        runtime.flush()
    runtime.flush()
    runtime.flush()
    assert recorded() == [GOOD] * 3


def test_a_recording_that_is_full_ends(circuit: Circuit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "MOST_BYTES", 12)
    recording.record("payments")
    succeed("payments", 2)
    runtime.flush()
    succeed("payments", 10)
    runtime.flush()
    assert recorded() == [GOOD] * 2
    assert Recording.objects.get().size <= 12
    circuit.refresh_from_db()
    assert circuit.recorded_until is None
    assert not tapes.any_runs()


def test_what_waits_to_be_written_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapes, "MOST_HEARD", 5)
    tape = tapes.Tape(float("inf"))
    for _ in range(9):
        tape.hear(observers.CallOutcome.SUCCESS, 0.1)
    taken = tape.take()
    assert len(taken) == 5
    tape.hear(observers.CallOutcome.FAILURE, 0.1)
    tape.give_back(taken)
    assert [call.ending for call in tape.take()] == [GOOD] * 4 + [FAILED]


def test_a_new_recording_takes_the_place_of_the_old_one(circuit: Circuit) -> None:
    recording.record("payments")
    succeed("payments")
    runtime.flush()
    recording.record("payments")
    assert recorded() == []
    fail("payments")
    runtime.flush()
    assert recorded() == [FAILED]
    assert RecordedCalls.objects.count() == 1


def test_a_child_leaves_the_parents_tape_to_the_parent(circuit: Circuit) -> None:
    recording.record("payments")
    succeed("payments")
    runtime.forget()  # as a forked child does
    runtime.flush()
    assert recorded() == []
    succeed("payments")
    runtime.flush()
    assert recorded() == [GOOD]


@pytest.mark.parametrize("days", [2, 30])
def test_old_recordings_are_pruned(circuit: Circuit, days: int) -> None:
    recording.record("payments")
    succeed("payments")
    runtime.flush()
    recording.stop("payments")
    ended = to_datetime(DatabaseStore().now() - days * 86_400)
    Recording.objects.update(until=ended)
    prune()
    is_kept = days == 2
    assert Recording.objects.exists() is is_kept
    assert RecordedCalls.objects.exists() is is_kept


def test_the_recording_of_a_deleted_circuit_is_pruned(circuit: Circuit) -> None:
    recording.record("payments")
    succeed("payments")
    runtime.flush()
    circuit.delete()
    Recording.objects.update(until=timezone.now() - timedelta(days=8))
    prune()
    assert not Recording.objects.exists()
    assert not RecordedCalls.objects.exists()


def test_only_a_circuit_that_exists_is_recorded_and_not_for_ever(circuit: Circuit) -> None:
    with pytest.raises(InvalidInputError):
        recording.record("pyments")
    with pytest.raises(InvalidInputError):
        recording.stop("pyments")
    with pytest.raises(InvalidInputError, match="seconds"):
        recording.record("payments", seconds=8 * 86_400)
    assert not Recording.objects.exists()
