"""Lists for the admin whose cost does not grow with their table."""

from __future__ import annotations

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

#: How many rows are counted, and can be paged through, at most.
LIMIT: Final = 10_000

#: How many of the newest changes are looked at, where those of all circuits are asked for.
WINDOW: Final = 50_000

#: The parameter of the list that asks for the changes of one circuit, by its key.
OF_CIRCUIT: Final = "circuit__id__exact"

#: The reasons for which a circuit opens.
_CAUSES: Final = frozenset(
    (Reason.FAILURES, Reason.FAILURE_RATE, Reason.SLOW_CALLS, Reason.RETRY_AFTER, Reason.MODE)
)


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages of no more than the first rows of a query."""

    limit = LIMIT

    @cached_property
    def count(self) -> int:
        """How many rows there are to be paged through."""
        return min(self._found, self.limit)

    @property
    def is_cut(self) -> bool:
        """Whether there are more rows than that."""
        return self._found > self.limit

    @cached_property
    def _found(self) -> int:
        # In the order they are shown in: without it, a database may go through all the rows that
        # are not asked for before it comes to those that are.
        rows: Any = self.object_list
        return int(rows.values("pk")[: self.limit + 1].count())


class HistoryList(SteadyList):
    """The changes of one circuit, or else the newest of all circuits, the newest first.

    A circuit's own have an index. Of those of all circuits no more than :data:`WINDOW` are looked
    at, so that a search for what is rare, or not there at all, comes to an end.
    """

    window = WINDOW

    @property
    def is_cut(self) -> bool:
        """Whether there are older changes that are not looked at."""
        return OF_CIRCUIT not in self.params and self._newest > self.window

    @cached_property
    def _newest(self) -> int:
        newest = Transition.objects.order_by("-pk").values_list("pk", flat=True).first()
        return newest or 0

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Return the one order that has an index."""
        return ["-generation" if OF_CIRCUIT in self.params else "-pk"]

    def get_queryset(self, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        """Return the changes that are asked for, of those that are looked at."""
        found = self.all_of_it(*args, **kwargs)
        return found.filter(pk__gt=self._newest - self.window) if self.is_cut else found

    def all_of_it(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        """Return the changes that are asked for, however old, of circuits that may be seen."""
        found = super().get_queryset(request, *args, **kwargs)
        circuits = circuits_on(self.model_admin.admin_site)
        return seen_history(circuits, request, found, self.params.get(OF_CIRCUIT))


class IncidentList(HistoryList):
    """The incidents of one circuit, or else the newest of all circuits, the newest first."""

    def get_results(self, request: HttpRequest) -> None:
        """Read the page's openings, and what became of each."""
        super().get_results(request)
        openings: Any = self.result_list
        begun = incidents.begun_by(list(openings))
        now = DatabaseStore().now() if begun else 0.0
        for opening in openings:
            opening.told = incident_in_words(begun[opening.pk], now)

    def url_for_result(self, result: Any) -> str:
        """Return the address of an incident's page; of its opening on a site without such pages."""
        key = (result.circuit_id, result.generation)
        name, site = "admin:circuits_circuit_incident", self.model_admin.admin_site.name
        try:
            return reverse(name, args=key, current_app=site)
        except NoReverseMatch:
            return super().url_for_result(result)


class GoesOnFilter(admin.SimpleListFilter):
    """Lists the incidents that go on, or those that are over."""

    title = gettext_lazy("end")
    parameter_name = "end"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the choices."""
        return [("no", _("not yet: it goes on")), ("yes", _("over"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the incidents of the choice that is made."""
        chosen = {"no": incidents.GOES_ON, "yes": ~incidents.GOES_ON}.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(chosen)


class CauseFilter(admin.SimpleListFilter):
    """Lists the incidents that began for a reason."""

    title = gettext_lazy("reason")
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the reasons for which a circuit opens."""
        return [(reason, words) for reason, words in REASONS if reason in _CAUSES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the incidents of the reason that is chosen."""
        return queryset.filter(reason=self.value()) if self.value() else queryset


class OpenedFilter(admin.DateFieldListFilter):
    """Lists the incidents that began today, in the last days, and so on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = gettext_lazy("opened")
