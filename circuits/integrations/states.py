"""Reads the states of the circuits for metrics. All processes share the database they are in."""

from __future__ import annotations

from typing import Any

from ..fields import with_clock
from ..models import Circuit


def most_urgent(most: int) -> tuple[list[tuple[Any, ...]], int]:
    """Return the columns of the most urgent circuits, and how many circuits are left out.

    The order is that of an index. The rest is counted only if there is any.
    """
    rows: Any = with_clock(Circuit.objects.order_by("urgency", "name")).values_list(
        "name", "state", "mode", "quarantines", "db_now"
    )
    found = list(rows[: most + 1])
    left_out = Circuit.objects.count() - most if len(found) > most else 0
    return found[:most], left_out
