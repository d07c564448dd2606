"""Exports the history as CSV, in little memory however long it is."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db.models import Max, Min, QuerySet
from django.utils import timezone

from ..models import Transition
from ..moments import aware
from ..signs import INVISIBLE

#: How many primary keys one query covers, so that it is quick even if a filter matches few of them.
CHUNK: Final = 2_000

COLUMNS: Final = (
    "at",
    "circuit",
    "from_state",
    "to_state",
    "from_mode",
    "to_mode",
    "reason",
    "detail",
    "actor",
    "generation",
    "until",
    "refusals",
)

_FIELDS: Final = tuple({"circuit": "circuit__name"}.get(name, name) for name in COLUMNS)

#: Places where a spreadsheet may see a formula begin: at the start of a cell, or after a semicolon
#: or tab, which some take as separators. Skipped characters may come first, and full-width signs
#: count too.
_FORMULA: Final = re.compile(
    rf"(^(?=[\t\r\n])|(?:^|[;\t\r\n])(?=[\s\"'\x00-\x20{INVISIBLE}]*"
    r"[=+\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212]))"
)


def blocks(rows: QuerySet[Transition]) -> Iterator[str]:
    """Yield blocks of CSV lines: first the heading, then the changes, the oldest first.

    Changes made after the first block was read are not included.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    yield _lines([COLUMNS])
    for changes in _in_chunks(rows):
        yield _lines(map(_cell, each) for each in changes)


async def blocks_async(rows: QuerySet[Transition]) -> AsyncIterator[str]:
    """Yield the blocks of :func:`blocks`, each read in a thread when it is asked for.

    Under ASGI, Django reads a synchronous iterator to its end before it sends anything.
    """
    found = blocks(rows)
    following = sync_to_async(lambda: next(found, None))
    while (block := await following()) is not None:
        yield block


def _lines(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _in_chunks(rows: QuerySet[Transition]) -> Iterator[list[tuple[Any, ...]]]:
    ends: Any = Transition.objects.order_by().aggregate(first=Min("pk"), last=Max("pk"))
    if ends["first"] is None:
        return
    for first in range(ends["first"], ends["last"] + 1, CHUNK):
        last = min(first + CHUNK - 1, ends["last"])
        chunk = rows.filter(pk__range=(first, last)).order_by("pk")
        # A join, since prefetching would pass the keys of the circuits, which may be too many.
        if found := list(chunk.prefetch_related(None).values_list(*_FIELDS)):
            yield found


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return timezone.localtime(aware(value)).isoformat()
    text = str(value)
    # Most cells are a word or a number, and hardly any of the others has to be changed.
    if text.isalnum() or text.isidentifier() or not _FORMULA.search(text):
        return text
    return _FORMULA.sub(r"\1'", text)
