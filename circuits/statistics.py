"""How calls through a circuit went, minute by minute: what the charts of the admin show.

Each process writes the calls it has gathered to the minute in which it writes them, so a call is
at most ``FLUSH_SECONDS`` late; after an outage of the database, by as long as that lasted.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NamedTuple

from django.db.models import F, Sum

from .models import Minute

MINUTE: Final = 60.0

HOUR: Final = 60
DAY: Final = 24 * HOUR


class Calls(NamedTuple):
    """How the calls of a stretch of time went; a refused one was not made."""

    successes: int = 0
    failures: int = 0
    refusals: int = 0


class Slots(NamedTuple):
    """Stretches of time of one length, one after the other.

    Args:
        first: The minute the first begins with, in minutes since 1970; a multiple of the width.
        number: How many there are.
        width: How many minutes each has.
    """

    first: int
    number: int
    width: int

    @classmethod
    def until(cls, now: float, number: int, width: int) -> Slots:
        """Return the slots that end with the one of a moment, in seconds since 1970.

        They begin where others of their width do, so that a chart drawn again a little later has
        the same bars.
        """
        last = int(now // MINUTE) // width
        return cls((last - number + 1) * width, number, width)

    @property
    def start(self) -> float:
        """When the first begins, in seconds since 1970."""
        return self.first * MINUTE

    @property
    def end(self) -> float:
        """When the last ends, in seconds since 1970."""
        return self.after * MINUTE

    @property
    def after(self) -> int:
        """The minute after the last, in minutes since 1970."""
        return self.first + self.number * self.width

    @property
    def seconds(self) -> float:
        """How long each is."""
        return self.width * MINUTE


def last_hour(circuits: Collection[int], now: float) -> dict[int, list[Calls]]:
    """Return the calls of the last hour in slots of two minutes, the oldest first.

    Args:
        circuits: The keys of the circuits; those without calls are not in the answer.
        now: In seconds since 1970, by the database's clock.
    """
    return read(circuits, Slots.until(now, number=30, width=2))


def read(circuits: Collection[int], slots: Slots) -> dict[int, list[Calls]]:
    """Return the calls of some circuits by their keys, in one query; none of those without calls.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    rows: Any = (
        Minute.objects.filter(circuit__in=circuits, minute__gte=slots.first, minute__lt=slots.after)
        # The database adds up: of a day, a row for each slot comes back and not for each minute.
        .annotate(begin=F("minute") - F("minute") % slots.width)
        .order_by()
        .values_list("circuit_id", "begin")
        .annotate(s=Sum("successes"), f=Sum("failures"), r=Sum("refusals"))
    )
    found: dict[int, list[Calls]] = {}
    for circuit, begin, *calls in rows:
        of_circuit = found.setdefault(circuit, [Calls()] * slots.number)
        of_circuit[(int(begin) - slots.first) // slots.width] = Calls(*map(int, calls))
    return found
