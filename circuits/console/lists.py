"""Lists of the admin that no query string breaks, whatever somebody types into it."""

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

#: How many words a search looks for, and how long the text it takes them from may be. Each is a
#: condition more, and SQLite takes no more than a thousand inside one another.
WORDS: Final = 32
SEARCH_LENGTH: Final = 2_000

#: How many values the filters of an address may have, and how long one may be.
VALUES: Final = 100
VALUE_LENGTH: Final = 10_000

#: The key of a row.
_KEY: Final = re.compile(r"[0-9]{1,18}")


class SteadyList(ChangeList):
    """A list that refuses a filter that cannot be understood, whenever that turns out.

    Django asks whether it can be put into a query, and not whether that can be put into SQL. Where
    the database has no such number, or no characters for what is looked for, nothing is found.
    """

    #: Whether that is so.
    finds_nothing = False

    @property
    def is_search_cut(self) -> bool:
        """Whether the search has more words than are looked for."""
        return searched(self.query) != self.query

    @property
    def words_searched(self) -> int:
        """How many words are looked for at most."""
        return WORDS

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        """Return the rows that are asked for.

        Raises:
            IncorrectLookupParameters: They are asked for in a way that cannot be understood.
        """
        if not _is_bounded(self.filter_params):
            raise IncorrectLookupParameters
        found: QuerySet[Any] = super().get_queryset(request, *args, **kwargs)
        check(found)
        return found.none() if self.finds_nothing else found

    def get_results(self, request: HttpRequest) -> None:
        """Read the page, or an empty one."""
        read = super().get_results
        self.found_or(None, lambda: read(request))
        if self.finds_nothing:
            self.queryset = self.queryset.none()
            read(request)

    def found_or(self, nothing: T, read: Callable[[], T]) -> T:
        """Return what is read, or nothing where the database cannot look for what is asked for."""
        try:
            with unbroken(self.root_queryset.db):
                return read()
        except (Error, UnicodeError, OverflowError) as error:
            if not (isinstance(error, OverflowError) or is_bad_value(error)):
                raise
            self.finds_nothing = True
            return nothing


class SteadyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """An admin whose list no query string breaks."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list that refuses what it cannot understand."""
        return SteadyList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuse patterns, which can take for ever, and what a database cannot look for."""
        is_safe = not lookup.endswith("regex") and "\0" not in value
        return (
            is_safe
            and not self._is_of_json(lookup)
            and super().lookup_allowed(lookup, value, request)
        )

    def _is_of_json(self, lookup: str) -> bool:
        """Whether it looks into a JSON field, where each key of the text is one of the query."""
        name, *_path = lookup.split(LOOKUP_SEP)
        fields = {field.name: field for field in self.opts.concrete_fields}
        return isinstance(fields.get(name), JSONField)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return what is found of the first words."""
        return super().get_search_results(request, queryset, searched(search_term))

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Do an action on the rows that are selected.

        Raises:
            BadRequest: What is selected cannot be rows: no browser has sent that.
        """
        if not all(map(_KEY.fullmatch, request.POST.getlist(ACTION_CHECKBOX_NAME))):
            raise BadRequest("What is selected must be keys of rows.")
        return super().response_action(request, queryset, *args, **kwargs)


def _is_bounded(asked: Mapping[str, Sequence[str]]) -> bool:
    """Whether the filters of an address are no more than a database takes."""
    # Of a range Django takes each letter for an end.
    if any(lookup.endswith("__range") for lookup in asked):
        return False
    lengths = [len(value) for values in asked.values() for value in values]
    return len(lengths) <= VALUES and max(lengths, default=0) <= VALUE_LENGTH


def searched(text: str) -> str:
    """Return what is looked for of a search: all of it, or its first words."""
    words = list(islice(smart_split(text[:SEARCH_LENGTH]), WORDS + 1))
    is_cut = len(words) > WORDS or len(text) > SEARCH_LENGTH
    return " ".join(words[:WORDS]) if is_cut else text


def check(rows: QuerySet[Any]) -> None:
    """Refuse a query that cannot be put into SQL.

    Raises:
        IncorrectLookupParameters: It cannot.
    """
    try:
        rows.query.get_compiler(rows.db).as_sql()
    except (EmptyResultSet, FullResultSet):
        return
    except Exception as error:
        # Nothing else has been done than to write down what was asked for.
        raise IncorrectLookupParameters(error) from error
