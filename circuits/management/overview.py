"""All circuits at one look, what is down first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..models import Circuit
from ..reports import health
from ..reports.readings import Reading, read_most_urgent
from ..reports.verdict import Evidence, gather


@dataclass(frozen=True, slots=True)
class Overview:
    """The circuits at one moment.

    Args:
        counted: How many there are of each kind, see :func:`circuits.reports.health.counted`.
        beat: Whether beat runs, see :func:`circuits.reports.health.beat`.
        readings: Those that were asked for, what is down first, as far as there is room.
        evidence: What the last hour says of each, by their keys.
        left_out: How many more were asked for.
    """

    counted: dict[str, int]
    beat: dict[str, Any]
    readings: list[Reading]
    evidence: dict[int, Evidence]
    left_out: int


def read_overview(most: int, **lookups: Any) -> Overview:
    """Read the circuits that fit, no more than so many, in as many queries however many there are.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    readings = read_most_urgent(most, **lookups)
    return Overview(
        health.counted(),
        health.beat(),
        readings,
        gather(readings),
        max(0, Circuit.objects.filter(**lookups).count() - len(readings)),
    )
