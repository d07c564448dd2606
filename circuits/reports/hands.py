"""Finds the change by which a person put a circuit into its present state or mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.db.models import OuterRef, Subquery

from ..core.status import Mode, Reason
from ..models import Circuit, Transition
from ..moments import to_seconds
from .readings import Reading
from .words import HOUR

#: The reasons of changes that a person makes.
_BY_HAND: Final = (Reason.MODE, Reason.RESET, Reason.TRY_NOW)


def last_by_hand(readings: Sequence[Reading]) -> dict[int, Transition]:
    """Return the last change that a person made to each circuit, if it still matters.

    It matters if it set a mode that still lasts, or if it was made within the last hour. The
    result is keyed by the circuits' primary keys, and takes two queries at most.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    keys = [each.circuit.pk for each in readings if _may_be_by_hand(each)]
    if not keys:
        return {}
    changes = Transition.objects.filter(circuit=OuterRef("pk"), reason__in=_BY_HAND)
    newest = Subquery(changes.order_by("-generation").values("pk")[:1])
    rows = Circuit.objects.filter(pk__in=keys).annotate(newest=newest).order_by()
    wanted = [key for key in rows.values_list("newest", flat=True) if key is not None]
    by_key = {each.circuit.pk: each for each in readings}
    found = {each.circuit_id: each for each in Transition.objects.in_bulk(wanted).values()}
    return {key: change for key, change in found.items() if _still_matters(change, by_key[key])}


def _may_be_by_hand(reading: Reading) -> bool:
    return reading.circuit.mode != Mode.AUTOMATIC or reading.time_in_state < HOUR


def _still_matters(change: Transition, reading: Reading) -> bool:
    """Return whether a change set the mode that still lasts, or was made within the last hour."""
    if reading.circuit.mode != Mode.AUTOMATIC:
        return change.to_mode == reading.circuit.mode
    return reading.now - to_seconds(change.at, until=reading.now) < HOUR
