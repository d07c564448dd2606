"""The list of circuits, which shows at a glance what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..core.status import Mode, State
from ..models import UNSTEADY_URGENCY
from ..reports import health
from ..reports.hands import last_by_hand
from ..reports.readings import reading_of
from ..reports.verdict import gather
from ..reports.words import FORCED, OBSERVED, UNSTEADY, duration
from ..steering.permissions import seen
from . import display
from .lists import SteadyList
from .paging import BoundedPaginator

_NOT_OBSERVED: Final = ",".join(mode.value for mode in Mode if mode is not Mode.OBSERVE)

#: The filters that list the circuits of a kind: their parameters with the values of those.
_KINDS: Final = {
    State.OPEN.value: {"state__exact": State.OPEN.value, "mode__in": _NOT_OBSERVED},
    State.HALF_OPEN.value: {"state__exact": State.HALF_OPEN.value, "mode__in": _NOT_OBSERVED},
    FORCED: {"mode__in": ",".join(health.FORCED_MODES)},
    UNSTEADY: {"urgency__exact": str(UNSTEADY_URGENCY)},
    OBSERVED: {"mode__exact": Mode.OBSERVE.value},
    State.CLOSED.value: {"state__exact": State.CLOSED.value},
}

#: The columns that say how the last hour went.
_OF_THE_LAST_HOUR: Final = frozenset({"state_badge", "since", "calls"})

#: The column that says who has changed a circuit.
_WHY: Final = "error"

#: What is named even where there is none: that is news too.
_ALWAYS: Final = (State.OPEN.value, State.CLOSED.value)


class Counted(NamedTuple):
    """How many circuits there are of a kind.

    Args:
        badge: The number, in words with a sign and a colour.
        query: The query string of the list that shows them.
        is_shown: Whether that is the list that is looked at.
    """

    badge: SafeString
    query: str
    is_shown: bool


class CircuitList(SteadyList):
    """The list of circuits, each with its calls of the last hour, and what they come to."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        """Return the circuits that are asked for and may be seen."""
        found = super().get_queryset(request, *args, **kwargs)
        return self.found_or(found.none(), lambda: seen(self.model_admin, request, found))

    def get_results(self, request: HttpRequest) -> None:
        """Read the page's circuits, and what its columns need of all of them at once."""
        self.root_queryset = seen(self.model_admin, request, self.root_queryset)
        super().get_results(request)
        circuits: Any = self.result_list
        for circuit in circuits:
            display.shown_by_name(circuit)
        readings = [reading_of(each) for each in circuits]
        if not _OF_THE_LAST_HOUR.isdisjoint(self.list_display):
            gathered = gather(readings)
            for circuit in circuits:
                circuit.evidence = gathered[circuit.pk]
        if _WHY in self.list_display:
            by_hand = last_by_hand(readings)
            for circuit in circuits:
                circuit.by_hand = by_hand.get(circuit.pk)

    @cached_property
    def counted(self) -> dict[str, int]:
        """How many circuits may be seen of each kind, whatever the list is filtered by.

        Those that are out of order come first, and no more are counted than a list pages through.

        Raises:
            django.db.Error: The circuits' database cannot be read.
        """
        return health.counted(BoundedPaginator.limit + 1, self.root_queryset)

    @property
    def counts(self) -> Iterator[Counted]:
        """What the list begins with."""
        for name, filters in _KINDS.items():
            number = self.counted[name]
            if number or name in _ALWAYS:
                is_shown = filters.items() == dict(self.params).items()
                query = f"?{urlencode(filters, safe=',')}"
                yield Counted(display.number_of(name, number), query, is_shown)

    @property
    def counted_at_most(self) -> int | None:
        """Where counting stopped; None where it came to the end."""
        return BoundedPaginator.limit if self.counted["total"] > BoundedPaginator.limit else None

    @property
    def live(self) -> dict[str, Any]:
        """What the script that keeps the list up to date begins with."""
        # Rows that are being edited are left alone.
        circuits = [] if self.list_editable else self.result_list
        return self.model_admin.live_of_list(circuits)  # type: ignore[attr-defined,no-any-return]

    @cached_property
    def beat(self) -> dict[str, Any]:
        """Whether beat runs, and what that means, in a sentence."""
        found = health.beat()
        return {"status": found["status"], "words": _beat_in_words(**found)}


def _beat_in_words(status: str, seconds_ago: float | None) -> str:
    if seconds_ago is None:
        return _(
            "Beat has never been seen: an open circuit waits for the next call to move on. "
            "Calls are not affected."
        )
    ago = {"ago": duration(seconds_ago)}
    if status == "ok":
        return _("Beat was last seen %(ago)s ago.") % ago
    return (
        _("Beat was last seen %(ago)s ago: the state shown may lag. Calls are not affected.") % ago
    )
