"""Reads the states of the circuits for metrics. All processes share the database they are in."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from .. import conf
from ..core.injection import Injection
from ..fields import with_clock
from ..models import Circuit
from ..moments import to_seconds


class Told(NamedTuple):
    """What the metrics tell of a circuit.

    Args:
        quarantines: The processes in quarantine, as the row keeps them.
        injected_until: When injected faults end by themselves, if there have been any.
        now: The present time, in microseconds since 1970 on the database's clock.
    """

    name: str
    state: str
    mode: str
    quarantines: Any
    injected_until: datetime | None
    now: int

    @property
    def is_injected(self) -> bool:
        """Whether faults are injected into its calls at present."""
        if self.injected_until is None or not conf.get().allow_injection:
            return False
        now = self.now / 1_000_000
        return Injection(0.0, 0.0, to_seconds(self.injected_until)).is_under_way(now)


def most_urgent(most: int) -> tuple[list[Told], int]:
    """Return what is told of the most urgent circuits, and how many circuits are left out.

    The order is that of an index. The rest is counted only if there is any.
    """
    rows: Any = with_clock(Circuit.objects.order_by("urgency", "name")).values_list(
        "name", "state", "mode", "quarantines", "injected_until", "db_now"
    )
    found = [Told(*row) for row in rows[: most + 1]]
    left_out = Circuit.objects.count() - most if len(found) > most else 0
    return found[:most], left_out
