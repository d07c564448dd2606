"""The health report for monitoring: which circuits are out of order, and whether beat runs."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import Count, Q, QuerySet

from ..core import machine
from ..core.status import Mode, State
from ..links import incident_link
from ..models import UNSTEADY_URGENCY, WOULD_BE_DOWN_URGENCY, Circuit
from ..moments import aware
from ..storage.database import EXPIRY, DatabaseStore
from ..storage.rows import status_of
from . import injections
from .quarantines import quarantined_processes
from .readings import Reading, most_urgent
from .verdict import verdict
from .words import FORCED, OBSERVED, UNSTEADY

#: Seconds after which the next pass of ``half_open_expired`` is late; it should run each second.
LATE_SECONDS: Final = 10.0

#: The modes in which staff have decided what happens to calls.
FORCED_MODES: Final = (Mode.FORCED_OPEN.value, Mode.FORCED_CLOSED.value)

#: The kinds of circuits that are counted, each with its condition.
_KINDS: Final[dict[str, Q]] = {
    State.CLOSED.value: Q(state=State.CLOSED.value),
    # A circuit that only observes refuses nothing, so it is not down.
    **{
        state.value: Q(state=state.value) & ~Q(urgency=WOULD_BE_DOWN_URGENCY)
        for state in (State.OPEN, State.HALF_OPEN)
    },
    UNSTEADY: Q(urgency=UNSTEADY_URGENCY),
    FORCED: Q(mode__in=FORCED_MODES),
    OBSERVED: Q(mode=Mode.OBSERVE.value) | Q(urgency=WOULD_BE_DOWN_URGENCY),
}


#: The most circuits that the report lists; those that are down come first.
LISTED: Final = 100

_OUT_OF_ORDER: Final = (
    ~Q(state=State.CLOSED.value) | Q(mode__in=FORCED_MODES) | Q(quarantines__isnull=False)
)

#: Circuits that refuse all or nearly all calls. One that only observes lets all calls pass.
_REFUSING: Final = Q(mode=Mode.FORCED_OPEN.value) | (
    Q(mode=Mode.AUTOMATIC.value) & ~Q(state=State.CLOSED.value) & ~Q(urgency=WOULD_BE_DOWN_URGENCY)
)


def report(circuits: QuerySet[Any] | None = None, *, with_errors: bool) -> dict[str, Any]:
    """Return the health of the circuits, in three queries; four where faults may be injected.

    Args:
        circuits: The circuits to report on; all by default.
        with_errors: Whether to include the last error of each circuit.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    rows = Circuit.objects.all() if circuits is None else circuits
    injected = [each.reading.circuit.pk for each in injections.under_way(rows)]
    found = rows.filter(_OUT_OF_ORDER | Q(pk__in=injected) if injected else _OUT_OF_ORDER)
    numbers = found.aggregate(total=Count("pk"), refusing=Count("pk", filter=_REFUSING))
    return {
        "status": "degraded" if numbers["refusing"] else "ok",
        "circuits": [_entry(each, with_errors) for each in most_urgent(found, LISTED)],
        "total": numbers["total"],
        "beat": beat(),
    }


def beat(late_after: float = LATE_SECONDS) -> dict[str, Any]:
    """Return when ``half_open_expired`` last ran, and a status: ``ok``, ``late`` or ``never``.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    ago = DatabaseStore().last_beat(EXPIRY)
    if ago is None:
        return {"status": "never", "seconds_ago": None}
    return {"status": "late" if ago > late_after else "ok", "seconds_ago": round(ago, 3)}


def counted(most: int | None = None, circuits: QuerySet[Any] | None = None) -> dict[str, int]:
    """Return how many circuits are in each state, forced and observed, and the ``total``.

    Args:
        most: The most circuits to look at, those that are out of order first; None for all.
        circuits: The circuits to count; all by default.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    # This order and these columns let the database answer from one index alone.
    rows = Circuit.objects.all() if circuits is None else circuits
    first = rows.order_by("urgency", "name").values("state", "mode", "urgency")[:most]
    numbers = {name: Count("state", filter=condition) for name, condition in _KINDS.items()}
    return first.aggregate(**numbers, total=Count("state"))


def _entry(reading: Reading, with_errors: bool) -> dict[str, Any]:
    circuit, retry_in = reading.circuit, reading.retry_in
    entry: dict[str, Any] = {
        "name": circuit.name,
        "state": circuit.state,
        "mode": circuit.mode,
        "since": aware(reading.since),
        "failed_trials": circuit.reopen_count,
        "refused": reading.refused,
        "verdict": verdict(reading).text(reading.now),
        "retry_in": None if retry_in is None else round(retry_in, 3),
        "mode_until": circuit.mode_until and aware(circuit.mode_until),
    }
    link = incident_link(circuit.pk, machine.opening_of(status_of(circuit)))
    if link and circuit.state != State.CLOSED:
        entry["url"] = link
    faults = injections.of(reading)
    if faults is not None:
        entry["injected"] = {
            "failures": circuit.injected_failures,
            "delay": circuit.injected_delay,
            "until": aware(faults.until),
        }
    alone = [each._asdict() for each in quarantined_processes(reading)]
    entry |= {"alone": alone} if alone else {}
    return {**entry, "last_error": circuit.last_error} if with_errors else entry
