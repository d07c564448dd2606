"""Lists of the admin whose cost does not grow with their table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..core.status import Reason
from ..models import REASONS, Transition
from ..reports import incidents
from ..steering.permissions import circuits_on, seen_history
from ..storage.database import DatabaseStore
from .lists import SteadyList
from .page import incident_in_words

#: The most rows that are counted and can be paged through.
LIMIT: Final = 10_000

#: How many changes a list over all circuits looks at, the newest ones.
WINDOW: Final = 50_000

#: The parameter of the list's URL that selects the changes of one circuit, by its primary key.
OF_CIRCUIT: Final = "circuit__id__exact"

#: The reasons for which a circuit opens.
_CAUSES: Final = frozenset(
    (Reason.FAILURES, Reason.FAILURE_RATE, Reason.SLOW_CALLS, Reason.RETRY_AFTER, Reason.MODE)
)


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """A paginator that counts and shows no more than the first :data:`LIMIT` rows of a query."""

    limit = LIMIT

    @cached_property
    def count(self) -> int:
        """The number of rows that can be paged through."""
        return min(self._found, self.limit)

    @property
    def is_cut(self) -> bool:
        """Whether the query has more rows than that."""
        return self._found > self.limit

    @cached_property
    def _found(self) -> int:
        # The order stays, or a database might first go through all rows that do not match.
        rows: Any = self.object_list
        return int(rows.values("pk")[: self.limit + 1].count())


class EntryPaginator(Paginator):  # type: ignore[type-arg]
    """Pages of the entries into which the first rows of a query were folded.

    Args:
        is_cut: Whether there are more rows than those.
    """

    limit = LIMIT

    def __init__(self, entries: Sequence[Any], per_page: int, *, is_cut: bool) -> None:
        super().__init__(entries, per_page)
        self.is_cut = is_cut


class HistoryList(SteadyList):
    """A list of the changes of one circuit, or of the newest changes of all, the newest first.

    An index finds those of one circuit. Of those of all circuits, the list looks at no more than
    :data:`WINDOW`, so that a search for something rare comes to an end.
    """

    window = WINDOW

    @property
    def is_cut(self) -> bool:
        """Whether there are older changes that the list does not look at."""
        return OF_CIRCUIT not in self.params and self._newest > self.window

    @cached_property
    def _newest(self) -> int:
        newest = Transition.objects.order_by("-pk").values_list("pk", flat=True).first()
        return newest or 0

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Return the only order that an index supports."""
        return ["-generation" if OF_CIRCUIT in self.params else "-pk"]

    def get_queryset(self, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        """Return the changes that the filters match, among those that the list looks at."""
        found = self.all_matching(*args, **kwargs)
        return found.filter(pk__gt=self._newest - self.window) if self.is_cut else found

    def all_matching(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        """Return all changes that the filters match, of circuits that the user may see."""
        found = super().get_queryset(request, *args, **kwargs)
        circuits = circuits_on(self.model_admin.admin_site)
        return seen_history(circuits, request, found, self.params.get(OF_CIRCUIT))


class IncidentList(HistoryList):
    """A list of the incidents of one circuit, or of the newest incidents of all circuits."""

    def get_results(self, request: HttpRequest) -> None:
        """Read the openings of the page, and the incident of each."""
        super().get_results(request)
        openings: Any = self.result_list
        begun = incidents.begun_by(list(openings))
        now = DatabaseStore().now() if begun else 0.0
        for opening in openings:
            opening.incident_in_words = incident_in_words(begun[opening.pk], now)

    def url_for_result(self, result: Any) -> str:
        """Return the URL of an incident's page, or of its opening if the site has no such page."""
        key = (result.circuit_id, result.generation)
        name, site = "admin:circuits_circuit_incident", self.model_admin.admin_site.name
        try:
            return reverse(name, args=key, current_app=site)
        except NoReverseMatch:
            return super().url_for_result(result)


class GoesOnFilter(admin.SimpleListFilter):
    """Filters incidents by whether they are over."""

    title = gettext_lazy("end")
    parameter_name = "end"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the choices."""
        return [("no", _("not yet: it goes on")), ("yes", _("over"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the incidents that match the choice."""
        chosen = {"no": incidents.GOES_ON, "yes": ~incidents.GOES_ON}.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(chosen)


class CauseFilter(admin.SimpleListFilter):
    """Filters incidents by the reason of their opening."""

    title = gettext_lazy("reason")
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the reasons for which a circuit opens."""
        return [(reason, words) for reason, words in REASONS if reason in _CAUSES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the incidents that opened for the chosen reason."""
        return queryset.filter(reason=self.value()) if self.value() else queryset


class OpenedFilter(admin.DateFieldListFilter):
    """Filters incidents by the day of their opening."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = gettext_lazy("opened")
