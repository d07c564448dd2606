"""Admin lists that answer any query string without an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import BadRequest, EmptyResultSet, FullResultSet
from django.db import Error
from django.db.models import JSONField, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest
from django.utils.text import smart_split

from ..storage.errors import is_bad_value
from ..storage.texts import unbroken

T = TypeVar("T")

#: How many words a search looks for, and how many characters of the text it reads. Each word adds
#: a condition, and SQLite allows at most a thousand nested ones.
WORDS: Final = 32
SEARCH_LENGTH: Final = 2_000

#: How many values the filters of a URL may have, and how long each may be.
VALUES: Final = 100
VALUE_LENGTH: Final = 10_000

#: The primary key of a row, as a form sends it.
_KEY: Final = re.compile(r"[0-9]{1,18}")


class SteadyList(ChangeList):
    """A list that refuses malformed filters, even if only the database finds that they are.

    Django checks whether a filter makes a queryset, but not whether the queryset makes SQL. A value
    that the database cannot represent, such as too large a number, finds nothing.
    """

    #: Whether a filter has a value that the database cannot represent.
    finds_nothing = False

    @property
    def is_search_cut(self) -> bool:
        """Whether the search has more words than the list looks for."""
        return searched(self.query) != self.query

    @property
    def words_searched(self) -> int:
        """How many words the list looks for at most."""
        return WORDS

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        """Return the rows that match the filters.

        Raises:
            IncorrectLookupParameters: A filter is malformed.
        """
        if not _is_bounded(self.filter_params):
            raise IncorrectLookupParameters
        found: QuerySet[Any] = super().get_queryset(request, *args, **kwargs)
        check(found)
        return found.none() if self.finds_nothing else found

    def get_results(self, request: HttpRequest) -> None:
        """Read the page; an empty one where the filters find nothing."""
        read = super().get_results
        self.found_or(None, lambda: read(request))
        if self.finds_nothing:
            self.queryset = self.queryset.none()
            read(request)

    def found_or(self, nothing: T, read: Callable[[], T]) -> T:
        """Return what ``read`` returns, or ``nothing`` if the database rejects a value."""
        try:
            with unbroken(self.root_queryset.db):
                return read()
        except (Error, UnicodeError, OverflowError) as error:
            if not (isinstance(error, OverflowError) or is_bad_value(error)):
                raise
            self.finds_nothing = True
            return nothing


class SteadyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """An admin whose list answers any query string without an error."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list that refuses malformed filters."""
        return SteadyList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuse regular expressions, which may never end, null characters and JSON fields."""
        is_safe = not lookup.endswith("regex") and "\0" not in value
        return (
            is_safe
            and not self._is_of_json(lookup)
            and super().lookup_allowed(lookup, value, request)
        )

    def _is_of_json(self, lookup: str) -> bool:
        """Whether a lookup goes into a JSON field, where each of its parts is a key."""
        name, *_path = lookup.split(LOOKUP_SEP)
        fields = {field.name: field for field in self.opts.concrete_fields}
        return isinstance(fields.get(name), JSONField)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows that match the first words of the search."""
        return super().get_search_results(request, queryset, searched(search_term))

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Perform an action on the selected rows.

        Raises:
            BadRequest: The selection holds something other than keys, which no browser sends.
        """
        if not all(map(_KEY.fullmatch, request.POST.getlist(ACTION_CHECKBOX_NAME))):
            raise BadRequest("What is selected must be keys of rows.")
        return super().response_action(request, queryset, *args, **kwargs)


def _is_bounded(asked: Mapping[str, Sequence[str]]) -> bool:
    """Whether the filters of a URL are few and short enough for a database."""
    # Django would take each letter of a range for one of its ends.
    if any(lookup.endswith("__range") for lookup in asked):
        return False
    lengths = [len(value) for values in asked.values() for value in values]
    return len(lengths) <= VALUES and max(lengths, default=0) <= VALUE_LENGTH


def searched(text: str) -> str:
    """Return the part of a search that the list looks for: all of it, or its first words."""
    words = list(islice(smart_split(text[:SEARCH_LENGTH]), WORDS + 1))
    is_cut = len(words) > WORDS or len(text) > SEARCH_LENGTH
    return " ".join(words[:WORDS]) if is_cut else text


def check(rows: QuerySet[Any]) -> None:
    """Refuse a query that makes no SQL.

    Raises:
        IncorrectLookupParameters: The query makes no SQL.
    """
    try:
        rows.query.get_compiler(rows.db).as_sql()
    except (EmptyResultSet, FullResultSet):
        return
    except Exception as error:
        # Only the filters went into the SQL, so only they can be at fault.
        raise IncorrectLookupParameters(error) from error
