"""Circuits as they are read for people: the row, and the database's clock at that moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Q, QuerySet

from . import machine
from .fields import DatabaseNow
from .machine import Mode, State
from .models import Circuit, Transition
from .rows import status_of, to_seconds

_HIDDEN: Final = frozenset({"id", "leases"})


@dataclass(frozen=True, slots=True)
class Reading:
    """A circuit's row and when it was read, in seconds on the database's clock."""

    circuit: Circuit
    now: float

    @property
    def time_in_state(self) -> float:
        """Seconds since the state or the mode last changed."""
        since = self.circuit.state_changed_at or self.circuit.created_at
        return max(0.0, self.now - to_seconds(since, until=self.now))

    @property
    def retry_in(self) -> float | None:
        """Seconds until an open circuit lets a call through; None where time changes nothing."""
        circuit = self.circuit
        waits = circuit.state == State.OPEN and circuit.mode != Mode.FORCED_OPEN
        if not waits or circuit.retry_at is None:
            return None
        return machine.open_remaining(status_of(circuit), self.now)

    @property
    def mode_ends_in(self) -> float | None:
        """Seconds until the mode ends by itself; None where it does not."""
        until = status_of(self.circuit).mode_until
        return None if until is None else max(0.0, until - self.now)

    @property
    def trials_under_way(self) -> int:
        """How many trial calls hold a lease."""
        seconds = self.circuit.lease_seconds
        return len(machine.live_leases(status_of(self.circuit), seconds, self.now))

    def values(self) -> dict[str, Any]:
        """Return everything there is to know, by the names of the fields."""
        return {
            **_values(self.circuit, _HIDDEN),
            "time_in_state": round(self.time_in_state, 3),
            "retry_in": None if self.retry_in is None else round(self.retry_in, 3),
            "trials_under_way": self.trials_under_way,
        }


def reading_of(circuit: Any) -> Reading:
    """Return a row that was read with ``db_now`` as a reading."""
    return Reading(circuit, circuit.db_now / 1_000_000)


def read_circuits(*conditions: Q, **lookups: Any) -> list[Reading]:
    """Return the circuits that fit, by name."""
    return [reading_of(row) for row in _rows(*conditions, **lookups)]


def read_most_urgent(most: int, **lookups: Any) -> list[Reading]:
    """Return no more than so many of the circuits that fit, in the order of the admin's list."""
    return [reading_of(row) for row in _rows(**lookups).order_by("urgency", "name")[:most]]


def _rows(*conditions: Q, **lookups: Any) -> QuerySet[Any]:
    return Circuit.objects.filter(*conditions, **lookups).annotate(db_now=DatabaseNow())


def transition_values(transition: Transition) -> dict[str, Any]:
    """Return a row of the history, by the names of its fields."""
    return _values(transition, frozenset({"id", "circuit"}))


def _values(row: Circuit | Transition, hidden: frozenset[str]) -> dict[str, Any]:
    names = [field.name for field in row._meta.concrete_fields if field.name not in hidden]
    return {name: getattr(row, name) for name in names}
