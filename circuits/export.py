"""The history as CSV, of any length in little memory."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from django.db.models import Max, Min, QuerySet
from django.utils import timezone

from .display import aware
from .models import Transition

#: How many keys one query looks at: it answers soon, however few of them fit a filter.
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

#: What a spreadsheet takes for the beginning of a formula.
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


class _Echo:
    """A file that hands each line back."""

    def write(self, line: str) -> str:
        return line


def lines(rows: QuerySet[Transition]) -> Iterator[str]:
    """Yield a heading and a line for each change, the oldest first.

    Those made after the first line are left to the next time.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    write = csv.writer(_Echo()).writerow
    yield write(COLUMNS)
    for transition in _in_chunks(rows):
        yield write([_cell(getattr(transition, name)) for name in COLUMNS])


def _in_chunks(rows: QuerySet[Transition]) -> Iterator[Transition]:
    ends: Any = Transition.objects.order_by().aggregate(first=Min("pk"), last=Max("pk"))
    if ends["first"] is None:
        return
    for first in range(ends["first"], ends["last"] + 1, CHUNK):
        last = min(first + CHUNK - 1, ends["last"])
        yield from rows.filter(pk__range=(first, last)).order_by("pk")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return timezone.localtime(aware(value)).isoformat()
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULAS) else text
