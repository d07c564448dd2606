"""Incidents: from a circuit's opening to its next closing, read from its history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Final

from django.db.models import BigIntegerField, Count, Exists, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from ..core.status import Mode, Reason, State
from ..models import Circuit, Transition, history_of

#: Of how many of a circuit's last changes the refusals are added up where several incidents are
#: asked for: all those of two days with a trial every ten seconds.
SUMMED: Final = 40_000


#: The same for each incident of a list over all circuits.
SUMMED_EACH: Final = 2_000

#: The changes that begin an incident.
OPENS: Final = Q(from_state=State.CLOSED.value, to_state=State.OPEN.value)

#: The changes out of closed that come after another one of the same circuit.
_LATER: Final = Transition.objects.filter(
    circuit=OuterRef("circuit"),
    from_state=State.CLOSED.value,
    generation__gt=OuterRef("generation"),
)

#: Those whose incident goes on.
GOES_ON: Final = ~Q(circuit__state=State.CLOSED.value) & ~Exists(_LATER)


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
    def is_observed(self) -> bool:
        """Whether it began in the mode observe, in which no call is refused."""
        return self.opening.to_mode == Mode.OBSERVE

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
    since = circuit.generation - SUMMED
    return _read(_openings(circuit)[:number], lambda _opening: since)


def one(circuit: Circuit, generation: int) -> Incident | None:
    """Return the incident that a generation is part of, or None where there is none, or no longer.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    before = _openings(circuit).filter(generation__lte=generation)
    found = _read(before[:1], lambda _opening: 0)
    return found[0] if found and generation <= found[0].last_generation else None


def begun_by(openings: Sequence[Transition]) -> dict[int, Incident]:
    """Return the incidents that changes of any circuits began, by the changes' keys.

    Of each no more than its last :data:`SUMMED_EACH` changes are added up. It takes three queries.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    rows = Transition.objects.filter(pk__in=[each.pk for each in openings])
    found = _read(_with_end(rows), lambda opening: opening.last_generation - SUMMED_EACH + 1)
    return {each.opening.pk: each for each in found}


def _openings(circuit: Circuit) -> QuerySet[Transition]:
    """Return what began incidents of a circuit, the newest first."""
    return _with_end(history_of(circuit).filter(OPENS))


def _with_end(openings: QuerySet[Transition]) -> QuerySet[Transition]:
    """Return changes that began incidents, each with the generation of the last change in it."""
    changes = Transition.objects.filter(circuit=OuterRef("circuit")).values("generation")
    after = changes.filter(from_state=State.CLOSED, generation__gt=OuterRef("generation"))
    # What follows the closing is the next change out of closed, into whatever.
    return openings.annotate(
        last_generation=Coalesce(
            Subquery(after.order_by("generation")[:1]) - 1,
            Subquery(changes.order_by("-generation")[:1]),
            output_field=BigIntegerField(),
        )
    )


def _read(openings: QuerySet[Transition], since: Callable[[Any], int]) -> list[Incident]:
    """Return the incidents that changes began.

    Args:
        since: Returns the generation of the first change of an incident that is added up.
    """
    found: list[Any] = list(openings)
    if not found:
        return []
    ends = [Q(circuit=each.circuit_id, generation=each.last_generation) for each in found]
    closings = Transition.objects.order_by().filter(reduce(or_, ends))
    lasts = {(each.circuit_id, each.generation): each for each in closings}
    sums = _sums(found, since)
    return [
        _incident(
            opening, lasts.get((opening.circuit_id, opening.last_generation)), since, sums[index]
        )
        for index, opening in enumerate(found)
    ]


def _incident(
    opening: Any, last: Transition | None, since: Callable[[Any], int], sums: tuple[int, int]
) -> Incident:
    refusals, failed_trials = sums
    return Incident(
        opening=opening,
        last=last,
        last_generation=opening.last_generation,
        refusals=refusals,
        failed_trials=failed_trials,
        is_cut=opening.generation < since(opening),
        # The newest change of a circuit is always kept.
        is_over=last is None or last.to_state == State.CLOSED,
    )


def _sums(openings: Sequence[Any], since: Callable[[Any], int]) -> list[tuple[int, int]]:
    """Return the refusals and the failed trials of each incident."""
    # Not grouped, which would be a sort of all the rows.
    columns: dict[str, Any] = {}
    kept = []
    for index, each in enumerate(openings):
        changes = (max(each.generation, since(each)), each.last_generation)
        of_it = Q(circuit=each.circuit_id, generation__range=changes)
        failed = of_it & Q(reason=Reason.TRIAL_FAILED)
        columns[f"refused_{index}"] = Coalesce(Sum("refusals", filter=of_it), 0)
        columns[f"failed_{index}"] = Count("pk", filter=failed)
        kept.append(of_it)
    found = Transition.objects.filter(reduce(or_, kept)).order_by().aggregate(**columns)
    return [
        (int(found[f"refused_{index}"]), found[f"failed_{index}"]) for index in range(len(openings))
    ]
