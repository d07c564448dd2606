"""What monitoring wants to know: which circuits are out of order, and whether beat runs."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import Count, Q

from .display import FORCED, OBSERVED
from .machine import Mode, State
from .models import Circuit
from .readings import Reading, read_circuits
from .store import EXPIRY, DatabaseStore

#: Seconds after which a pass of ``half_open_expired``, meant for every second, is overdue.
LATE_SECONDS: Final = 10.0

#: The modes in which somebody has decided what becomes of calls.
FORCED_MODES: Final = (Mode.FORCED_OPEN.value, Mode.FORCED_CLOSED.value)

#: What circuits are counted by.
_KINDS: Final[dict[str, Q]] = {
    **{state.value: Q(state=state.value) for state in State},
    FORCED: Q(mode__in=FORCED_MODES),
    OBSERVED: Q(mode=Mode.OBSERVE.value),
}


def report(*, with_errors: bool) -> dict[str, Any]:
    """Return the health of the circuits, in two queries.

    Args:
        with_errors: Whether to say what each circuit failed with last.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    readings = _out_of_order()
    degraded = any(_refuses(reading.circuit) for reading in readings)
    return {
        "status": "degraded" if degraded else "ok",
        "circuits": [_entry(reading, with_errors) for reading in readings],
        "beat": beat(),
    }


def beat(late_after: float = LATE_SECONDS) -> dict[str, Any]:
    """Return when ``half_open_expired`` last ran: ``ok``, ``late`` or ``never``.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    ago = DatabaseStore().last_beat(EXPIRY)
    if ago is None:
        return {"status": "never", "seconds_ago": None}
    return {"status": "late" if ago > late_after else "ok", "seconds_ago": round(ago, 3)}


def counted(most: int | None = None) -> dict[str, int]:
    """Return how many circuits are in each state, forced and observed, and the ``total``.

    Args:
        most: How many are looked at; those that are out of order come first.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    # In the order of the index that has all that is asked for.
    first = Circuit.objects.order_by("urgency", "name").values("state", "mode")[:most]
    numbers = {name: Count("state", filter=condition) for name, condition in _KINDS.items()}
    return first.aggregate(**numbers, total=Count("state"))


def _out_of_order() -> list[Reading]:
    """The circuits that are not closed, or that somebody has forced."""
    return read_circuits(~Q(state=State.CLOSED.value) | Q(mode__in=FORCED_MODES))


def _refuses(circuit: Circuit) -> bool:
    """Whether calls are refused, or all but a few; one that only observes lets all pass."""
    if circuit.mode == Mode.AUTOMATIC:
        return circuit.state != State.CLOSED
    return circuit.mode == Mode.FORCED_OPEN


def _entry(reading: Reading, with_errors: bool) -> dict[str, Any]:
    circuit, retry_in = reading.circuit, reading.retry_in
    entry: dict[str, Any] = {
        "name": circuit.name,
        "state": circuit.state,
        "mode": circuit.mode,
        "since": circuit.state_changed_at or circuit.created_at,
        "retry_in": None if retry_in is None else round(retry_in, 3),
        "mode_until": circuit.mode_until,
    }
    return {**entry, "last_error": circuit.last_error} if with_errors else entry
