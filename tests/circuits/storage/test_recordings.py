"""Recordings of calls in the database: how they begin and end, grow, and are read.

tests/circuits/process/test_recording.py records real calls.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.utils import timezone

from circuits.core.recording import Call, Ending
from circuits.models import Circuit, RecordedCalls, Recording
from circuits.moments import to_datetime, to_seconds
from circuits.storage import recordings
from circuits.storage.database import DatabaseStore
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")

ALIAS = "circuits"


@pytest.fixture
def circuit() -> Circuit:
    return CircuitFactory.create(name="payments")


@pytest.fixture
def other() -> Recording:
    """Return the recording of another circuit, which nothing here concerns."""
    recording = recordings.begin(ALIAS, CircuitFactory.create(name="mail"), 600)
    assert recordings.add(ALIAS, "mail", calls(timezone.now().timestamp()))
    return recording


def calls(*ends: float, seconds: float = 1.0) -> list[Call]:
    return [Call(at, seconds, Ending.GOOD) for at in ends]


def read(recording: Recording, most: int = 1_000) -> tuple[list[float], int]:
    """Return when the recorded calls ended, as seconds after the recording began."""
    since = to_seconds(recording.since)
    found, left_out = recordings.read(recording, most)
    return [round(call.ended_at - since, 1) for call in found], left_out


def begun(circuit: Circuit) -> tuple[Recording, float]:
    recording = recordings.begin(ALIAS, circuit, 60)
    return recording, to_seconds(recording.since)


def test_one_begins_now_and_lasts_as_long_as_asked(circuit: Circuit, other: Recording) -> None:
    before = DatabaseStore().now() - 0.001
    recording = recordings.begin(ALIAS, circuit, 60)
    assert before <= to_seconds(recording.since) <= DatabaseStore().now()
    assert recording.until - recording.since == timedelta(seconds=60)
    assert recordings.find(circuit) == recording
    until = dict(Circuit.objects.values_list("name", "recorded_until"))
    assert until == {"payments": recording.until, "mail": other.until}


def test_a_second_one_takes_the_place_of_the_first_alone(
    circuit: Circuit, other: Recording
) -> None:
    first, since = begun(circuit)
    recordings.add(ALIAS, "payments", calls(since + 1))
    second = recordings.begin(ALIAS, circuit, 60)
    assert set(Recording.objects.all()) == {second, other}
    assert first != second
    assert read(second) == ([], 0)
    assert len(read(other)[0]) == 1


def test_to_erase_one_leaves_those_of_others(circuit: Circuit, other: Recording) -> None:
    recordings.begin(ALIAS, circuit, 60)
    recordings.erase(ALIAS, circuit)
    assert recordings.find(circuit) is None
    assert Recording.objects.get() == other


def test_one_is_ended_once_and_kept(circuit: Circuit, other: Recording) -> None:
    recording, since = begun(circuit)
    recordings.add(ALIAS, "payments", calls(since + 1))
    assert recordings.end(ALIAS, circuit) is True
    assert recordings.end(ALIAS, circuit) is False
    recording.refresh_from_db()
    assert since <= to_seconds(recording.until) <= DatabaseStore().now() + 0.001
    assert read(recording) == ([1], 0)
    until = dict(Circuit.objects.values_list("name", "recorded_until"))
    assert until == {"payments": None, "mail": other.until}
    assert recordings.find(Circuit.objects.get(name="mail")) == other
    other.refresh_from_db()
    assert other.until == until["mail"]


def test_to_end_what_never_began_is_no_error(circuit: Circuit) -> None:
    assert recordings.end(ALIAS, circuit) is False


def test_it_is_under_way_until_its_end() -> None:
    recording = Recording(until=to_datetime(1_000))
    assert recordings.is_under_way(recording, 999.9)
    assert not recordings.is_under_way(recording, 1_000)


def test_calls_are_added_to_the_recording_of_their_circuit(
    circuit: Circuit, other: Recording
) -> None:
    recording, since = begun(circuit)
    assert recordings.add(ALIAS, "payments", calls(since + 0.5, since + 2.5, since + 3)) is True
    assert recordings.add(ALIAS, "payments", calls(since + 4)) is True
    first, second = recording.batches.order_by("pk")
    assert first.at == int((since + 0.5) * 1000)
    assert (first.number, second.number) == (3, 1)
    recording.refresh_from_db()
    assert recording.size == len(bytes(first.calls)) + len(bytes(second.calls))
    assert read(recording) == ([0.5, 2.5, 3, 4], 0)
    assert len(read(other)[0]) == 1


def test_calls_without_a_recording_are_not_kept(circuit: Circuit, other: Recording) -> None:
    assert recordings.add(ALIAS, "payments", calls(1_000)) is False
    assert recordings.add(ALIAS, "nowhere", calls(1_000)) is False
    assert RecordedCalls.objects.count() == 1, "which is the other's"


def test_it_ends_with_the_first_batch_that_it_has_no_room_for(
    circuit: Circuit, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, since = begun(circuit)
    recordings.add(ALIAS, "payments", calls(since + 1))
    recording.refresh_from_db()
    monkeypatch.setattr(recordings, "MOST_BYTES", 2 * recording.size)
    assert recordings.add(ALIAS, "payments", calls(since + 1)) is True
    assert recordings.add(ALIAS, "payments", calls(since + 2)) is False
    assert read(recording) == ([1, 1], 0)
    assert recordings.end(ALIAS, circuit) is False, "it has ended"
    circuit.refresh_from_db()
    assert circuit.recorded_until is None


def test_of_too_many_calls_the_last_batches_are_left_out(circuit: Circuit) -> None:
    recording, since = begun(circuit)
    # Written late by one process, and read by when it began.
    recordings.add(ALIAS, "payments", calls(since + 5, since + 6, since + 7))
    recordings.add(ALIAS, "payments", calls(since + 1, since + 2))
    recordings.add(ALIAS, "payments", calls(since + 8))
    assert read(recording, 6) == ([1, 2, 5, 6, 7, 8], 0)
    assert read(recording, 5) == ([1, 2, 5, 6, 7], 1)
    assert read(recording, 4) == ([1, 2, 8], 3)
    assert read(recording, 2) == ([1, 2], 4)
    assert read(recording, 1) == ([1, 2], 4), "something is always read"


def test_calls_are_in_the_order_in_which_they_began(circuit: Circuit) -> None:
    recording, since = begun(circuit)
    slow = Call(since + 9, 8.5, Ending.FAILED)
    recordings.add(ALIAS, "payments", [*calls(since + 3), slow])
    found, _ = recordings.read(recording, 10)
    assert [call.ending for call in found] == [Ending.FAILED, Ending.GOOD]


def test_calls_from_before_it_began_are_not_read(circuit: Circuit) -> None:
    recording, since = begun(circuit)
    recordings.add(ALIAS, "payments", calls(since - 6, since - 4, since + 1))
    assert read(recording) == ([-4, 1], 0)


def test_one_that_cannot_be_ended_is_still_under_way(circuit: Circuit) -> None:
    recording, _ = begun(circuit)

    def refuse(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        if sql.startswith("UPDATE") and Recording._meta.db_table in sql:
            raise OperationalError("the disk is full")
        return execute(sql, *args)

    with connections[ALIAS].execute_wrapper(refuse), pytest.raises(OperationalError):
        recordings.end(ALIAS, circuit)
    circuit.refresh_from_db()
    assert circuit.recorded_until == recording.until
