"""Keeps recordings of calls in the database: one for each circuit, in batches, bounded in size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from django.db import connections, transaction
from django.db.models import F

from ..core.recording import Call, packed, unpacked
from ..fields import database_now
from ..models import Circuit, RecordedCalls, Recording
from ..moments import to_datetime, to_seconds

#: The most bytes of one recording, enough for a million calls. A recording ends when it is full.
MOST_BYTES: Final = 4_000_000


#: Seconds by which a process may date a call too early, because reading the clock takes time.
SKEW: Final = 5.0


def begin(alias: str, circuit: Circuit, seconds: float) -> Recording:
    """Begin to record a circuit's calls for ``seconds``, and delete its earlier recording."""
    now = database_now(connections[alias])
    until = to_datetime(now + seconds)
    with transaction.atomic(alias):
        erase(alias, circuit)
        made = Recording.objects.using(alias).create(
            circuit=circuit, since=to_datetime(now), until=until
        )
        Circuit.objects.using(alias).filter(pk=circuit.pk).update(recorded_until=until)
    return made


def end(alias: str, circuit: Circuit) -> bool:
    """Stop the recording of a circuit, and keep it; return whether one was under way."""
    now = to_datetime(database_now(connections[alias]))
    with transaction.atomic(alias):
        Circuit.objects.using(alias).filter(pk=circuit.pk).update(recorded_until=None)
        ended = Recording.objects.using(alias).filter(circuit_id=circuit.pk, until__gt=now)
        return ended.update(until=now) > 0


def erase(alias: str, circuit: Circuit) -> None:
    """Delete the recording of a circuit."""
    Recording.objects.using(alias).filter(circuit_id=circuit.pk).delete()


def add(alias: str, name: str, calls: Sequence[Call]) -> bool:
    """Add calls to the recording of a circuit; return false if none is under way, or it is full.

    Args:
        calls: The calls in the order in which they ended, with times on the database's clock.
    """
    circuit = Circuit.objects.using(alias).filter(name=name).only("pk").first()
    if circuit is None:
        return False
    at = int(calls[0].ended_at * 1000)
    data = packed(calls, at / 1000)
    with transaction.atomic(alias):
        rows = Recording.objects.using(alias).filter(circuit_id=circuit.pk)
        if rows.filter(size__lte=MOST_BYTES - len(data)).update(size=F("size") + len(data)):
            RecordedCalls.objects.using(alias).create(
                recording=rows.get(), at=at, number=len(calls), calls=data
            )
            return True
    end(alias, circuit)
    return False


def find(circuit: Circuit) -> Recording | None:
    """Return the recording of a circuit, if there is one."""
    return Recording.objects.filter(circuit_id=circuit.pk).first()


def is_under_way(recording: Recording, now: float) -> bool:
    """Return whether a recording goes on at ``now``, in seconds since 1970."""
    return now < to_seconds(recording.until)


def read(recording: Recording, most: int) -> tuple[list[Call], int]:
    """Return the recorded calls of all processes in the order in which they began.

    Args:
        most: Roughly the most calls to return. If there are more, the last batches are left out.

    Returns:
        The calls, and how many were left out.
    """
    since = to_seconds(recording.since)
    calls: list[Call] = []
    left_out = 0
    batches = recording.batches.order_by("at", "pk").values_list("at", "number", "calls")
    for at, number, data in batches.iterator():
        if len(calls) + number > most and calls:
            left_out += number
            continue
        calls += _of_batch(bytes(data), at / 1000, since)
    return sorted(calls, key=lambda call: call.began_at), left_out


def _of_batch(data: bytes, at: float, since: float) -> Iterator[Call]:
    # A process may only now have written calls from before the recording began.
    return (call for call in unpacked(data, at) if call.ended_at >= since - SKEW)
