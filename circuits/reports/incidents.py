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

#: On a circuit's own page, sums cover this many of its last changes. With a trial every ten seconds
#: a circuit makes fewer in two days.
SUMMED: Final = 40_000

#: In a list over all circuits, sums cover this many of the last changes of each incident.
SUMMED_EACH: Final = 2_000

#: Matches the changes that begin an incident.
OPENS: Final = Q(from_state=State.CLOSED.value, to_state=State.OPEN.value)

#: Changes of the same circuit out of closed that come after the outer change.
_LATER: Final = Transition.objects.filter(
    circuit=OuterRef("circuit"),
    from_state=State.CLOSED.value,
    generation__gt=OuterRef("generation"),
)

#: Matches the openings whose incident still goes on.
GOES_ON: Final = ~Q(circuit__state=State.CLOSED.value) & ~Exists(_LATER)


@dataclass(frozen=True, slots=True)
class Incident:
    """A time in which a circuit was not closed.

    Args:
        opening: The change that began it.
        last: Its last change so far; None if that is no longer kept.
        last_generation: The generation of its last change.
        refusals: How many calls it refused, up to the last flush of each process.
        failed_trials: How many trials failed.
        is_cut: Whether ``refusals`` and ``failed_trials`` leave out its beginning.
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
        """The change that ended the incident, if it has ended and that change is kept."""
        return self.last if self.is_over else None

    @property
    def is_observed(self) -> bool:
        """Whether the incident began in the mode observe, in which no call is refused."""
        return self.opening.to_mode == Mode.OBSERVE

    @property
    def changes(self) -> int:
        """How many changes the incident consists of."""
        return self.last_generation - self.opening.generation + 1

    def history(self) -> QuerySet[Transition]:
        """Return the incident's changes that are kept, the oldest first."""
        kept = Transition.objects.filter(
            circuit_id=self.opening.circuit_id,
            generation__range=(self.opening.generation, self.last_generation),
        )
        return kept.order_by("generation")


def recent(circuit: Circuit, number: int) -> list[Incident]:
    """Return the last ``number`` incidents of a circuit, the newest first, in three queries.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    since = circuit.generation - SUMMED
    return _read(_openings(circuit)[:number], lambda _opening: since)


def one(circuit: Circuit, generation: int) -> Incident | None:
    """Return the incident that a generation is part of; None if none is, or it is not kept.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    before = _openings(circuit).filter(generation__lte=generation)
    found = _read(before[:1], lambda _opening: 0)
    return found[0] if found and generation <= found[0].last_generation else None


def begun_by(openings: Sequence[Transition]) -> dict[int, Incident]:
    """Return the incidents that some openings began, by the primary keys of the openings.

    The sums of each incident cover its last :data:`SUMMED_EACH` changes. Takes three queries.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    rows = Transition.objects.filter(pk__in=[each.pk for each in openings])
    found = _read(_with_end(rows), lambda opening: opening.last_generation - SUMMED_EACH + 1)
    return {each.opening.pk: each for each in found}


def _openings(circuit: Circuit) -> QuerySet[Transition]:
    """Return the openings of a circuit, the newest first."""
    return _with_end(history_of(circuit).filter(OPENS))


def _with_end(openings: QuerySet[Transition]) -> QuerySet[Transition]:
    """Annotate openings with ``last_generation``, that of the last change of their incident."""
    changes = Transition.objects.filter(circuit=OuterRef("circuit")).values("generation")
    after = changes.filter(from_state=State.CLOSED, generation__gt=OuterRef("generation"))
    # The generation after a closing is that of the next change out of closed, to any state.
    return openings.annotate(
        last_generation=Coalesce(
            Subquery(after.order_by("generation")[:1]) - 1,
            Subquery(changes.order_by("-generation")[:1]),
            output_field=BigIntegerField(),
        )
    )


def _read(openings: QuerySet[Transition], since: Callable[[Any], int]) -> list[Incident]:
    """Return the incidents that some openings began.

    Args:
        since: A function that returns, for an opening, the generation at which its sums begin.
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
        # A circuit's newest change is always kept, so a missing one was followed by another.
        is_over=last is None or last.to_state == State.CLOSED,
    )


def _sums(openings: Sequence[Any], since: Callable[[Any], int]) -> list[tuple[int, int]]:
    """Return the refusals and the failed trials of each incident."""
    # Columns for each incident instead of a GROUP BY, which would sort all the rows.
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
