"""The list of circuits: the most urgent first, families folded, a summary above it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import starmap
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.paginator import InvalidPage
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..core.status import Mode, State
from ..models import UNSTEADY_URGENCY
from ..reports import health
from ..reports.hands import last_by_hand
from ..reports.readings import Reading, reading_of
from ..reports.statistics import last_hour
from ..reports.verdict import gather
from ..reports.words import FORCED, OBSERVED, UNSTEADY, duration
from ..steering.permissions import seen
from . import display, folding
from .families import UNFOLD_ADDRESS, FamilyFilter
from .lists import SteadyList
from .paging import BoundedPaginator, EntryPaginator

_NOT_OBSERVED: Final = ",".join(mode.value for mode in Mode if mode is not Mode.OBSERVE)

#: The query parameters that list the circuits of each kind.
_KINDS: Final = {
    State.OPEN.value: {"state__exact": State.OPEN.value, "mode__in": _NOT_OBSERVED},
    State.HALF_OPEN.value: {"state__exact": State.HALF_OPEN.value, "mode__in": _NOT_OBSERVED},
    FORCED: {"mode__in": ",".join(health.FORCED_MODES)},
    UNSTEADY: {"urgency__exact": str(UNSTEADY_URGENCY)},
    OBSERVED: {"mode__exact": Mode.OBSERVE.value},
    State.CLOSED.value: {"state__exact": State.CLOSED.value},
}

#: The columns that need the calls of the last hour.
_OF_THE_LAST_HOUR: Final = frozenset({"state_badge", "since", "calls"})

#: The column that needs the last change made by hand.
_WHY: Final = "error"

#: The kinds that the summary names even if there are no such circuits.
_ALWAYS: Final = (State.OPEN.value, State.CLOSED.value)


class Counted(NamedTuple):
    """How many circuits of a kind there are, for the summary.

    Args:
        badge: The number, in words with a sign and a colour.
        query: The query string of the list that shows them.
        is_shown: Whether that is the list that is looked at.
    """

    badge: SafeString
    query: str
    is_shown: bool


class CircuitList(SteadyList):
    """The list of circuits, each with its calls of the last hour, and a summary."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        """Return the circuits that match the filters and that the user may see."""
        found = super().get_queryset(request, *args, **kwargs)
        return self.found_or(found.none(), lambda: seen(self.model_admin, request, found))

    def get_filters_params(self, params: Any = None) -> Any:
        """Return the filters of the URL, without the names of unfolded families."""
        found = super().get_filters_params(params)
        found.pop(folding.UNFOLDED, None)
        return found

    def get_results(self, request: HttpRequest) -> None:
        """Read the page's circuits, and what the columns need, for all circuits at once."""
        self.root_queryset = seen(self.model_admin, request, self.root_queryset)
        super().get_results(request)
        nothing: Sequence[folding.Entry] = ()
        entries = self.found_or(nothing, self._entries)
        if any(isinstance(entry, folding.Family) for entry in entries):
            self._show(self._page_of(entries))
        else:
            self._tell(list(self.result_list))

    def _tell(self, circuits: Sequence[Any]) -> list[Reading]:
        """Attach to each circuit what the columns need besides its row; return the readings."""
        for circuit in circuits:
            display.shown_by_name(circuit)
        readings = [reading_of(each) for each in circuits]
        if self._tells_of_the_last_hour:
            gathered = gather(readings)
            for circuit in circuits:
                circuit.evidence = gathered[circuit.pk]
        if _WHY in self.list_display:
            by_hand = last_by_hand(readings)
            for circuit in circuits:
                circuit.by_hand = by_hand.get(circuit.pk)
        return readings

    @property
    def _tells_of_the_last_hour(self) -> bool:
        return not _OF_THE_LAST_HOUR.isdisjoint(self.list_display)

    # Families

    @property
    def is_folded(self) -> bool:
        """Whether a family is shown as one row.

        The circuits themselves are listed for a search, in an editable list, in a popup that picks
        a circuit for another form, and where the list is filtered by family.
        """
        is_of_one = FamilyFilter.parameter_name in self.params
        return not (self.query or self.list_editable or self.is_popup or is_of_one)

    @cached_property
    def unfolded(self) -> frozenset[str]:
        """The families whose circuits are listed below their rows."""
        return folding.unfolded_in(self.params.get(folding.UNFOLDED, ""))

    def _entries(self) -> Sequence[folding.Entry]:
        """Return the entries of all pages; none if the list is not folded or has no families.

        Raises:
            django.db.Error: The circuits' database cannot be read.
        """
        if not self.is_folded or not self.queryset.filter(family__gt="").exists():
            return ()
        rows = self.queryset.values_list(*folding.Line._fields)[: BoundedPaginator.limit]
        return folding.fold(starmap(folding.Line, rows), self.unfolded)

    def _page_of(self, entries: Sequence[folding.Entry]) -> Sequence[folding.Entry]:
        """Divide the entries into pages, and return those of the requested page.

        ``result_count`` stays the number of circuits, since "select all" selects circuits.

        Raises:
            IncorrectLookupParameters: The requested page does not exist.
        """
        is_cut = getattr(self.paginator, "is_cut", False)
        self.paginator = EntryPaginator(entries, self.list_per_page, is_cut=is_cut)
        self.multi_page = len(entries) > self.list_per_page
        if not self.multi_page or (self.show_all and self.can_show_all):
            return entries
        try:
            return list(self.paginator.page(self.page_num))
        except InvalidPage as error:
            raise IncorrectLookupParameters from error

    def _show(self, entries: Sequence[folding.Entry]) -> None:
        """Read the circuits of a page of entries, and make the rows."""
        keys = list(folding.keys_of(entries))
        circuits = {each.pk: each for each in self.queryset.filter(pk__in=keys)}
        readings = self._tell(list(circuits.values()))
        if readings and self._tells_of_the_last_hour:
            calls = last_hour(folding.summed_keys(entries), readings[0].now)
            entries = list(folding.with_calls(entries, calls))
        rows: list[Any] = list(folding.rows_of(entries, circuits))
        for row in rows:
            if family := folding.family_on(row):
                filters = {FamilyFilter.parameter_name: family.name, folding.UNFOLDED: None}
                row.all_url = self.get_query_string(filters)
        self.result_list: Any = rows

    def url_for_result(self, result: Any) -> str:
        """Return the URL of a circuit's page; for a family, the URL that unfolds or folds it."""
        family = folding.family_on(result)
        if family is None:
            return super().url_for_result(result)
        site = self.model_admin.admin_site.name
        return reverse(f"admin:{UNFOLD_ADDRESS}", args=[family.name], current_app=site)

    # The summary

    @cached_property
    def counted(self) -> dict[str, int]:
        """How many circuits of each kind the user may see, regardless of filters.

        Those that are out of order come first, and no more are counted than a list pages through.

        Raises:
            django.db.Error: The circuits' database cannot be read.
        """
        return health.counted(BoundedPaginator.limit + 1, self.root_queryset)

    @property
    def counts(self) -> Iterator[Counted]:
        """The numbers above the list, each with a link to the circuits it counts."""
        for name, filters in _KINDS.items():
            number = self.counted[name]
            if number or name in _ALWAYS:
                is_shown = filters == _without(self.params, folding.UNFOLDED)
                query = f"?{urlencode(filters, safe=',')}"
                yield Counted(display.number_of(name, number), query, is_shown)

    @property
    def counted_at_most(self) -> int | None:
        """The number at which counting stopped; None if it counted all circuits."""
        return BoundedPaginator.limit if self.counted["total"] > BoundedPaginator.limit else None

    @property
    def live(self) -> dict[str, Any]:
        """What the script that keeps the list up to date needs to know to start."""
        # The script must not overwrite rows that somebody is editing.
        circuits = [] if self.list_editable else self.result_list
        return self.model_admin.live_of_list(circuits)  # type: ignore[attr-defined,no-any-return]

    @cached_property
    def beat(self) -> dict[str, Any]:
        """Whether beat runs, and a sentence on what that means."""
        found = health.beat()
        return {"status": found["status"], "words": _beat_in_words(**found)}


def _without(params: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in params.items() if key != name}


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
