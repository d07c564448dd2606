"""Folds the families in the admin's list into one row each.

The row of a family is a copy of its worst circuit, with another name, key and calls. Columns that a
site adds to the list therefore show the worst circuit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf
from typing import Any, Final, NamedTuple, TypeAlias

from django.http import QueryDict
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..core.status import State
from ..models import UNSTEADY_URGENCY, WOULD_BE_DOWN_URGENCY, Circuit
from ..reports.readings import Reading, reading_of
from ..reports.statistics import Calls
from ..reports.words import FORCED, OBSERVED, UNSTEADY, grouped, number_words
from ..signs import spelled_out
from . import display
from .charts import sparkline

#: The parameter of the list that names the unfolded families, with slashes between them.
UNFOLDED: Final = "unfolded"

#: How many circuits of an unfolded family are listed at most.
MOST_MEMBERS: Final = 100

#: How many circuits' calls a page adds up at most.
MOST_SUMMED: Final = 500

#: What marks a circuit that is listed below the row of its family.
_MEMBER: Final = SafeString('<span class="circuits-member"></span>')

#: The kind as which a circuit of each urgency is counted; any other urgency counts as closed.
_KINDS: Final[dict[int, str]] = {
    0: State.OPEN.value,
    1: FORCED,
    2: State.HALF_OPEN.value,
    UNSTEADY_URGENCY: UNSTEADY,
    WOULD_BE_DOWN_URGENCY: OBSERVED,
}


class Line(NamedTuple):
    """The fields of a circuit that folding needs."""

    pk: int
    name: str
    family: str
    urgency: int
    down_since: datetime | None = None

    @property
    def badness(self) -> tuple[int, float, str]:
        """What circuits are compared by: their urgency, and then how long they have been down."""
        since = inf if self.down_since is None else self.down_since.timestamp()
        return self.urgency, since, self.name

    @property
    def kind(self) -> str:
        """The kind as which the circuit is counted."""
        return _KINDS.get(self.urgency, State.CLOSED.value)


@dataclass(frozen=True, slots=True)
class Family:
    """Several circuits for which the list has one row.

    Args:
        name: The name of the family.
        members: The circuits of the family that are in the list, in the list's order except that
            the circuit named like the family comes first.
        is_unfolded: Whether the circuits are listed below the row.
        calls: The sums of the members' calls in the last hour; None if too many to add up.
    """

    name: str
    members: Sequence[Line]
    is_unfolded: bool
    calls: Sequence[Calls] | None = ()

    @property
    def key(self) -> str:
        """The key of the row, which differs from every circuit's key."""
        return f"{self.name}/"

    @property
    def worst(self) -> Line:
        """The most urgent circuit; among equals, the one that has been down longest."""
        return min(self.members, key=lambda line: line.badness)

    @property
    def listed(self) -> Sequence[Line]:
        """The members that are listed below the row; none while the family is folded."""
        return self.members[:MOST_MEMBERS] if self.is_unfolded else ()

    @property
    def number(self) -> str:
        """The number of circuits in words."""
        number = len(self.members)
        return ngettext("%s circuit", "%s circuits", number) % grouped(number)

    @property
    def counts(self) -> str:
        """The numbers of circuits that are not closed in words; how many are closed if all are."""
        found = Counter(line.kind for line in self.members)
        numbers = [(kind, found[kind]) for kind in _KINDS.values() if found[kind]]
        everything = [(State.CLOSED.value, len(self.members))]
        return ", ".join(number_words(kind, number) for kind, number in numbers or everything)


#: What the list has one row for: a circuit, or a family.
Entry: TypeAlias = Line | Family


def fold(lines: Iterable[Line], unfolded: Collection[str] = ()) -> list[Entry]:
    """Return the entries of a list, each in the place of its first circuit.

    A circuit that is the only one of its family in the list keeps a row of its own.

    Args:
        lines: The circuits in the order of the list.
        unfolded: The names of the unfolded families.
    """
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line.family or line.name, []).append(line)
    return [
        _family(name, found, name in unfolded) if len(found) > 1 else found[0]
        for name, found in groups.items()
    ]


def _family(name: str, found: Iterable[Line], is_unfolded: bool) -> Family:
    return Family(name, sorted(found, key=lambda line: line.name != name), is_unfolded)


def keys_of(entries: Iterable[Entry]) -> Iterator[int]:
    """Yield the keys of the circuits that have to be read to show the entries."""
    for entry in entries:
        if isinstance(entry, Line):
            yield entry.pk
        else:
            yield entry.worst.pk
            yield from (line.pk for line in entry.listed)


def rows_of(entries: Iterable[Entry], circuits: Mapping[int, Circuit]) -> Iterator[Circuit]:
    """Yield the rows of the entries, leaving out circuits that have been deleted meanwhile."""
    for entry in entries:
        if isinstance(entry, Family) and entry.worst.pk in circuits:
            yield _row(entry, circuits[entry.worst.pk])
        lines = [entry] if isinstance(entry, Line) else entry.listed
        for line in lines:
            if line.pk in circuits:
                circuit: Any = circuits[line.pk]
                circuit.is_member = isinstance(entry, Family)
                yield circuit


def _row(family: Family, worst: Circuit) -> Circuit:
    row: Any = copy(worst)
    row.stands_for = family
    row.worst_name = str(worst)
    row.pk = family.key
    # The page announces a new generation: here, a change of the counts.
    row.generation = family.counts
    values = {"family": spelled_out(family.name), "circuits": family.number}
    row.name = _("%(family)s (%(circuits)s)") % values
    return row  # type: ignore[no-any-return]


def family_on(row: Any) -> Family | None:
    """Return the family that a row of the list shows; None if the row shows a circuit."""
    found: Family | None = getattr(row, "stands_for", None)
    return found


# Calls -------------------------------------------------------------------------------------------


def summed_keys(entries: Iterable[Entry]) -> set[int]:
    """Return the keys of the circuits whose calls are to be added up."""
    return {line.pk for family in _summed(entries) for line in family.members}


def with_calls(entries: Iterable[Entry], calls: Mapping[int, Sequence[Calls]]) -> Iterator[Entry]:
    """Yield the entries, with the sums of their calls attached to the families.

    Args:
        calls: The calls of each circuit of :func:`summed_keys`, where it had any.
    """
    entries = list(entries)
    summed = {family.name for family in _summed(entries)}
    for entry in entries:
        if isinstance(entry, Line):
            yield entry
        elif entry.name in summed:
            yield replace(entry, calls=_sums(calls.get(line.pk, ()) for line in entry.members))
        else:
            yield replace(entry, calls=None)


def _summed(entries: Iterable[Entry]) -> Iterator[Family]:
    """Yield the families that fit, one after the other, into :data:`MOST_SUMMED` circuits."""
    room = MOST_SUMMED
    for entry in entries:
        if isinstance(entry, Family) and len(entry.members) <= room:
            room -= len(entry.members)
            yield entry


def _sums(all_calls: Iterable[Sequence[Calls]]) -> list[Calls]:
    slots = zip(*filter(None, all_calls), strict=True)
    return [Calls(*map(sum, zip(*calls, strict=True))) for calls in slots]


# What the row says -------------------------------------------------------------------------------


def standing(row: Circuit, family: Family) -> str:
    """Return the numbers of circuits by state, and since when the worst one is down."""
    # One element, because django-unfold lays out the parts of a cell as columns on a phone.
    return format_html(
        '<span class="circuits-family" data-circuits-unfolded="{}">{}{}</span>',
        "true" if family.is_unfolded else "false",
        _counts(reading_of(row), family),
        _all_of(row, family),
    )


def _counts(reading: Reading, family: Family) -> str:
    if family.worst.kind in (State.CLOSED, UNSTEADY):
        return family.counts
    return display.filled(
        _("%(counts)s; the worst since %(since)s"),
        counts=family.counts,
        since=display.since(reading),
    )


def _all_of(row: Any, family: Family) -> str:
    """Return a link to all members if only the first ones are listed below the row."""
    number = len(family.listed)
    if number in (0, len(family.members)):
        return ""
    words = _("The first %(number)s are listed here; list them all") % {"number": grouped(number)}
    return format_html(' <a href="{}">{}</a>', row.all_url, words)


def member_mark(row: Any) -> str:
    """Return the mark of a circuit that is listed below the row of its family."""
    return _MEMBER if getattr(row, "is_member", False) else ""


def why(row: Any, family: Family, words: str) -> str:
    """Return which circuit of a folded family is the worst, and why it is as it is."""
    if family.is_unfolded or words == display.NOTHING:
        return display.NOTHING
    return format_html('<span class="circuits-why">{}: {}</span>', row.worst_name, words)


def calls(family: Family) -> str:
    """Return a chart of the family's calls in the last hour."""
    return display.NOTHING if family.calls is None else sparkline(family.calls)


def news(row: Circuit, family: Family) -> str:
    """Return the announcement of new counts; nothing if the listed members are announced."""
    if family.is_unfolded:
        return ""
    return _("%(family)s: %(counts)s.") % {"family": row, "counts": family.counts}


# The URL -----------------------------------------------------------------------------------------


def unfolded_in(value: str) -> frozenset[str]:
    """Return the names of the unfolded families from the value of their parameter."""
    return frozenset(filter(None, value.split("/")))


def toggled(query: QueryDict, family: str) -> str:
    """Return the query string with one family unfolded, or folded if it was unfolded."""
    changed = query.copy()
    names = unfolded_in(changed.get(UNFOLDED, "")) ^ {family}
    changed[UNFOLDED] = "/".join(sorted(names))
    if not names:
        del changed[UNFOLDED]
    return changed.urlencode(safe="/")
