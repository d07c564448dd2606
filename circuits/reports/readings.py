"""Reads circuits for people, each with the database's time at which it was read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Q, QuerySet

from ..core import budget, machine
from ..core.budget import Spending
from ..core.injection import Injection
from ..core.status import Mode, State
from ..fields import with_clock
from ..models import Circuit, Transition
from ..moments import aware, to_seconds
from ..storage.rows import injection_of, policy_of, status_of, window_of

_HIDDEN: Final = frozenset({"id", "leases", "refusals_before", "retry_window"})


@dataclass(frozen=True, slots=True)
class Reading:
    """A circuit, and the time at which it was read, in seconds on the database's clock."""

    circuit: Circuit
    now: float

    @property
    def time_in_state(self) -> float:
        """Seconds since the state or the mode last changed."""
        since = self.circuit.state_changed_at or self.circuit.created_at
        return max(0.0, self.now - to_seconds(since, until=self.now))

    @property
    def since(self) -> datetime:
        """When the circuit went down; if it is not down, when its state or mode last changed.

        A failed trial does not change this time.
        """
        circuit = self.circuit
        if circuit.state != State.CLOSED and circuit.down_since is not None:
            return circuit.down_since
        return circuit.state_changed_at or circuit.created_at

    @property
    def down_for(self) -> float:
        """Seconds since :attr:`since`."""
        return max(0.0, self.now - to_seconds(self.since, until=self.now))

    @property
    def refused(self) -> int:
        """How many calls were refused since the circuit left closed; 0 while it is closed."""
        if self.circuit.state == State.CLOSED:
            return 0
        return max(0, self.circuit.total_refusals - self.circuit.refusals_before)

    @property
    def retry_in(self) -> float | None:
        """Seconds until an open circuit lets a call through; None if it does not wait for that."""
        circuit = self.circuit
        waits = circuit.state == State.OPEN and circuit.mode != Mode.FORCED_OPEN
        if not waits or circuit.retry_at is None:
            return None
        return machine.open_remaining(status_of(circuit), self.now)

    @property
    def mode_ends_in(self) -> float | None:
        """Seconds until the mode ends by itself; None if it does not."""
        until = status_of(self.circuit).mode_until
        return None if until is None else max(0.0, until - self.now)

    @property
    def injection(self) -> Injection | None:
        """The faults that are injected into its calls at present; None if there are none."""
        return injection_of(self.circuit)

    @property
    def trials_under_way(self) -> int:
        """How many trial calls hold a lease."""
        seconds = self.circuit.lease_seconds
        return len(machine.live_leases(status_of(self.circuit), seconds, self.now))

    @property
    def retries(self) -> Spending | None:
        """The recent calls and retries of the processes that retry; None if there are none."""
        window = window_of(self.circuit.retry_window)
        recent = budget.recent(window, policy_of(self.circuit), self.now)
        return recent if any(recent) else None

    @property
    def retries_allowed(self) -> int:
        """How many retries the budget allows for the recent calls, those made included."""
        calls = 0 if self.retries is None else self.retries.calls
        return budget.allowed(calls, policy_of(self.circuit))

    def values(self) -> dict[str, Any]:
        """Return the fields of the circuit and what follows from them, by name."""
        return {
            **_values(self.circuit, _HIDDEN),
            "time_in_state": round(self.time_in_state, 3),
            "refused": self.refused,
            "retry_in": None if self.retry_in is None else round(self.retry_in, 3),
            "trials_under_way": self.trials_under_way,
            "recent_retries": 0 if self.retries is None else self.retries.retries,
            "retries_allowed": self.retries_allowed,
        }


def reading_of(circuit: Any) -> Reading:
    """Return the reading of a row that was annotated by :func:`with_clock`."""
    return Reading(circuit, circuit.db_now / 1_000_000)


def read_circuits(*conditions: Q, **lookups: Any) -> list[Reading]:
    """Read the circuits that match, in the order of their names."""
    return [reading_of(row) for row in _rows(*conditions, **lookups)]


def read_most_urgent(most: int | None, *conditions: Q, **lookups: Any) -> list[Reading]:
    """Read at most ``most`` of the circuits that match, in the order of the admin's list."""
    return most_urgent(Circuit.objects.filter(*conditions, **lookups), most)


def most_urgent(circuits: QuerySet[Any], most: int | None) -> list[Reading]:
    """Read at most ``most`` of some circuits, in the order of the admin's list."""
    rows = with_clock(circuits).order_by("urgency", "name")
    return [reading_of(row) for row in rows[:most]]


def _rows(*conditions: Q, **lookups: Any) -> QuerySet[Any]:
    rows: QuerySet[Any] = with_clock(Circuit.objects.filter(*conditions, **lookups))
    return rows


def transition_values(transition: Transition) -> dict[str, Any]:
    """Return the values of a transition by the names of its fields."""
    return _values(transition, frozenset({"id", "circuit"}))


def _values(row: Circuit | Transition, hidden: frozenset[str]) -> dict[str, Any]:
    names = [field.name for field in row._meta.concrete_fields if field.name not in hidden]
    return {name: _value(getattr(row, name)) for name in names}


def _value(value: Any) -> Any:
    return aware(value) if isinstance(value, datetime) else value
