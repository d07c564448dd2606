"""Reads what ``circuits watch`` shows: totals, beat, and the most urgent circuits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from ..models import Circuit
from ..reports import health
from ..reports.readings import Reading, read_most_urgent
from ..reports.verdict import Evidence, gather


@dataclass(frozen=True, slots=True)
class Overview:
    """The circuits at one moment.

    Args:
        counted: The number of circuits of each kind, as :func:`circuits.reports.health.counted`
            returns it.
        beat: Whether beat runs, as :func:`circuits.reports.health.beat` returns it.
        readings: The circuits to show, those that are down first.
        evidence: The evidence of the last hour for each of them, by primary key.
        left_out: How many circuits match the filters but do not fit.
    """

    counted: dict[str, int]
    beat: dict[str, Any]
    readings: list[Reading]
    evidence: dict[int, Evidence]
    left_out: int


def read_overview(most: int, *conditions: Q, **lookups: Any) -> Overview:
    """Read the overview, with at most ``most`` circuits that match.

    The number of queries does not depend on the number of circuits.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    readings = read_most_urgent(most, *conditions, **lookups)
    return Overview(
        health.counted(),
        health.beat(),
        readings,
        gather(readings),
        max(0, Circuit.objects.filter(*conditions, **lookups).count() - len(readings)),
    )
