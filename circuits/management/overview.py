"""All circuits at one look, what is down first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import health
from ..models import Circuit
from ..readings import Reading, read_most_urgent
from ..statistics import Calls, last_hour


@dataclass(frozen=True, slots=True)
class Overview:
    """The circuits at one moment.

    Args:
        counted: How many there are of each kind, see :func:`circuits.health.counted`.
        beat: Whether beat runs, see :func:`circuits.health.beat`.
        readings: Those that were asked for, what is down first, as far as there is room.
        calls: How their calls of the last hour went, by their keys.
        left_out: How many more were asked for.
    """

    counted: dict[str, int]
    beat: dict[str, Any]
    readings: list[Reading]
    calls: dict[int, list[Calls]]
    left_out: int


def read_overview(most: int, **lookups: Any) -> Overview:
    """Read the circuits that fit, no more than so many, in as many queries however many there are.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    readings = read_most_urgent(most, **lookups)
    keys = [reading.circuit.pk for reading in readings]
    return Overview(
        health.counted(),
        health.beat(),
        readings,
        last_hour(keys, readings[0].now) if readings else {},
        max(0, Circuit.objects.filter(**lookups).count() - len(readings)),
    )
