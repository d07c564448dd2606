"""Incidents: from a circuit's opening to its next closing, read from its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import BigIntegerField, Count, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from .machine import Reason, State
from .models import Circuit, Transition

#: Of how many of a circuit's last changes the refusals are added up where several incidents are
#: asked for: all those of two days with a trial every ten seconds.
SUMMED: Final = 40_000


@dataclass(frozen=True, slots=True)
class Incident:
    """A time in which a circuit was not closed.

    Args:
        opening: The change that began it.
        last: The last change of it so far; None where that is no longer kept.
        refusals: Calls refused in it, up to the last flush of each process.
        failed_trials: How often it was tried and opened again.
        is_cut: Whether the two are of its end only.
        is_over: Whether it has ended.
    """

    opening: Transition
    last: Transition | None
    last_generation: int
    refusals: int
    failed_trials: int
    is_cut: bool
    is_over: bool

    @property
    def closing(self) -> Transition | None:
        """The change that ended it, if that is kept."""
        return self.last if self.is_over else None

    @property
    def changes(self) -> int:
        """How many changes it has."""
        return self.last_generation - self.opening.generation + 1

    def history(self) -> QuerySet[Transition]:
        """Return its changes, the oldest first."""
        kept = Transition.objects.filter(
            circuit_id=self.opening.circuit_id,
            generation__range=(self.opening.generation, self.last_generation),
        )
        return kept.order_by("generation")


def recent(circuit: Circuit, number: int) -> list[Incident]:
    """Return the last incidents of a circuit, the newest first, in three queries.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    return _read(circuit, _openings(circuit)[:number], circuit.generation - SUMMED)


def one(circuit: Circuit, generation: int) -> Incident | None:
    """Return the incident that began with a generation, or None where there is none, or no longer.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    found = _read(circuit, _openings(circuit).filter(generation=generation), 0)
    return found[0] if found else None


def _openings(circuit: Circuit) -> QuerySet[Transition]:
    """Return what began incidents, each with the generation of the last change in it."""
    changes = Transition.objects.filter(circuit=OuterRef("circuit")).values("generation")
    after = changes.filter(from_state=State.CLOSED, generation__gt=OuterRef("generation"))
    # What follows the closing is the next change out of closed, into whatever.
    return (
        circuit.history()
        .filter(from_state=State.CLOSED, to_state=State.OPEN)
        .annotate(
            last_generation=Coalesce(
                Subquery(after.order_by("generation")[:1]) - 1,
                Subquery(changes.order_by("-generation")[:1]),
                output_field=BigIntegerField(),
            )
        )
    )


def _read(circuit: Circuit, openings: QuerySet[Transition], since: int) -> list[Incident]:
    found: list[Any] = list(openings)
    if not found:
        return []
    ends = {opening.last_generation for opening in found}
    closings = circuit.transitions.order_by().filter(generation__in=ends)
    lasts = {each.generation: each for each in closings}
    sums = _sums(circuit, found, since)
    return [_incident(opening, lasts, sums, since) for opening in found]


def _incident(
    opening: Any, lasts: dict[int, Transition], sums: dict[int, tuple[int, int]], since: int
) -> Incident:
    last = lasts.get(opening.last_generation)
    refusals, failed_trials = sums[opening.generation]
    return Incident(
        opening=opening,
        last=last,
        last_generation=opening.last_generation,
        refusals=refusals,
        failed_trials=failed_trials,
        is_cut=opening.generation < since,
        # The newest change of a circuit is always kept.
        is_over=last is None or last.to_state == State.CLOSED,
    )


def _sums(circuit: Circuit, openings: Sequence[Any], since: int) -> dict[int, tuple[int, int]]:
    """Return the refusals and the failed trials of each incident by the generation it began in."""
    ends = {each.generation: each.last_generation for each in openings}
    first, last = max(since, min(ends)), max(ends.values())
    # Not grouped, which would be a sort of all the rows.
    columns: dict[str, Any] = {}
    for began, ended in ends.items():
        of_it = Q(generation__range=(began, ended))
        failed = of_it & Q(reason=Reason.TRIAL_FAILED)
        columns[f"refused_{began}"] = Coalesce(Sum("refusals", filter=of_it), 0)
        columns[f"failed_{began}"] = Count("pk", filter=failed)
    kept = circuit.transitions.filter(generation__range=(first, last)).order_by()
    found = kept.aggregate(**columns)
    return {began: (int(found[f"refused_{began}"]), found[f"failed_{began}"]) for began in ends}
