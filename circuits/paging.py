"""Pages of lists that may be very long."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

from django.core.paginator import Paginator

#: How many rows are counted, and can be paged through, at most.
LIMIT: Final = 10_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages of the first rows of a query, whose cost does not grow with the table.

    The rows are counted in the order they are shown in: without it, the database may look for the
    first ones where there are none.
    """

    @cached_property
    def count(self) -> int:
        """How many rows there are to be paged through."""
        return min(self._found, LIMIT)

    @property
    def is_cut(self) -> bool:
        """Whether there are more rows than that."""
        return self._found > LIMIT

    @cached_property
    def _found(self) -> int:
        rows: Any = self.object_list
        return int(rows.values("pk")[: LIMIT + 1].count())
