"""Lists for the admin whose cost does not grow with their table."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

from .models import Transition

#: How many rows are counted, and can be paged through, at most.
LIMIT: Final = 10_000

#: How many of the newest changes are looked at, where those of all circuits are asked for.
WINDOW: Final = 50_000

#: The parameter of the list that asks for the changes of one circuit, by its key.
OF_CIRCUIT: Final = "circuit__id__exact"


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


class HistoryList(ChangeList):
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
        found = super().get_queryset(*args, **kwargs)
        return found.filter(pk__gt=self._newest - self.window) if self.is_cut else found

    def all_of_it(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the changes that are asked for, however old."""
        return super().get_queryset(request)
