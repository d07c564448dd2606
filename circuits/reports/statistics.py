"""Reads the counts of calls for each minute, as the charts of the admin show them.

Each process adds the calls it has gathered to the minute in which it flushes them. A call may thus
be counted up to ``FLUSH_SECONDS`` late, or later after an outage of the database.

Durations are known for calls that were answered and timed. All HTTP calls, all async calls and all
calls of the rate strategy are timed. Of other calls, each process times the first one after each
renewal of its snapshot, which makes about one call in ``SNAPSHOT_SECONDS``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from django.db.models import F, Sum

from ..core import latency
from ..core.latency import Histogram
from ..models import BUCKETS, Minute

MINUTE_SECONDS: Final = 60.0

DAY_MINUTES: Final = 24 * 60


class Calls(NamedTuple):
    """The numbers of calls in a period. Refused calls were not made."""

    successes: int = 0
    failures: int = 0
    refusals: int = 0


class Timed(NamedTuple):
    """The calls in a period, and the durations of those that were timed."""

    calls: Calls = Calls()
    durations: Histogram = latency.EMPTY


class Slots(NamedTuple):
    """Consecutive periods of equal length.

    Args:
        first: The start of the first slot, in minutes since 1970; a multiple of the width.
        number: The number of slots.
        width: The length of each slot in minutes.
    """

    first: int
    number: int
    width: int

    @classmethod
    def until(cls, now: float, number: int, width: int) -> Slots:
        """Return ``number`` slots, the last of which contains ``now``, in seconds since 1970.

        Slots begin at multiples of their width, so that a chart drawn a little later has the same
        bars.
        """
        last = int(now // MINUTE_SECONDS) // width
        return cls((last - number + 1) * width, number, width)

    @property
    def start(self) -> float:
        """The start of the first slot, in seconds since 1970."""
        return self.first * MINUTE_SECONDS

    @property
    def end(self) -> float:
        """The end of the last slot, in seconds since 1970."""
        return self.after * MINUTE_SECONDS

    @property
    def after(self) -> int:
        """The first minute after the last slot, in minutes since 1970."""
        return self.first + self.number * self.width

    @property
    def seconds(self) -> float:
        """The length of each slot in seconds."""
        return self.width * MINUTE_SECONDS


def last_hour(circuits: Collection[int], now: float) -> dict[int, list[Calls]]:
    """Return the calls of the last hour in slots of two minutes, the oldest first.

    Args:
        circuits: The primary keys of the circuits; those without calls are left out of the result.
        now: The present time, in seconds since 1970 on the database's clock.
    """
    return read(circuits, last_hour_slots(now))


def last_hour_slots(now: float) -> Slots:
    """Return the slots of :func:`last_hour`."""
    return Slots.until(now, number=30, width=2)


def read(circuits: Collection[int], slots: Slots) -> dict[int, list[Calls]]:
    """Return the calls of some circuits in each slot, by primary key, in one query.

    Circuits without calls are left out.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    found = _sums(circuits, slots, Calls._fields)
    return {circuit: [Calls(*each) for each in sums] for circuit, sums in found.items()}


def read_timed(circuit: int, slots: Slots) -> list[Timed]:
    """Return the calls of one circuit in each slot, and their durations, in one query.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    found = _sums([circuit], slots, (*Calls._fields, *BUCKETS)).get(circuit)
    if found is None:
        return [Timed()] * slots.number
    number = len(Calls._fields)
    return [Timed(Calls(*each[:number]), each[number:]) for each in found]


def _sums(
    circuits: Collection[int], slots: Slots, columns: Sequence[str]
) -> dict[int, list[tuple[int, ...]]]:
    """Return the sums of some columns in each slot, by the primary keys of the circuits."""
    rows = (
        Minute.objects.filter(circuit__in=circuits, minute__gte=slots.first, minute__lt=slots.after)
        # The database adds up, so that it returns a row for each slot, not for each minute.
        .annotate(begin=F("minute") - F("minute") % slots.width)
        .order_by()
        .values_list("circuit_id", "begin")
        .annotate(**{f"sum_{column}": Sum(column) for column in columns})
    )
    found: dict[int, list[tuple[int, ...]]] = {}
    for circuit, begin, *sums in rows:
        of_circuit = found.setdefault(circuit, [(0,) * len(columns)] * slots.number)
        of_circuit[(int(begin) - slots.first) // slots.width] = tuple(map(int, sums))
    return found
