"""Families folded into one row each of the admin's list, and what such a row says.

The row of a family is a copy of the row of its worst circuit: its state, its rank and the columns
that a site adds are those of that circuit. Its name, its calls and its counts are the family's.
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

#: How many members of a family are listed below its row.
MOST_MEMBERS: Final = 100

#: How many circuits of the families on a page have their calls added up.
MOST_SUMMED: Final = 500

#: What marks a circuit that is listed below the row of its family.
_MEMBER: Final = SafeString('<span class="circuits-member"></span>')

#: What a circuit of each rank is counted as; any other is closed.
_KINDS: Final[dict[int, str]] = {
    0: State.OPEN.value,
    1: FORCED,
    2: State.HALF_OPEN.value,
    UNSTEADY_URGENCY: UNSTEADY,
    WOULD_BE_DOWN_URGENCY: OBSERVED,
}


class Line(NamedTuple):
    """The fields of a circuit that folding goes by."""

    pk: int
    name: str
    family: str
    urgency: int
    down_since: datetime | None = None

    @property
    def badness(self) -> tuple[int, float, str]:
        """The rank of the circuit, of the same rank that which is down longest first."""
        since = inf if self.down_since is None else self.down_since.timestamp()
        return self.urgency, since, self.name

    @property
    def kind(self) -> str:
        """What the circuit is counted as."""
        return _KINDS.get(self.urgency, State.CLOSED.value)


@dataclass(frozen=True, slots=True)
class Family:
    """Several circuits that one row of the list stands for.

    Args:
        name: The name of the family.
        members: Its circuits in the list. The one named like the family comes first; the others
            are in the order of the list.
        is_unfolded: Whether the circuits are listed below the row.
        calls: The sums of the members' calls in the last hour; None if there are too many members.
    """

    name: str
    members: Sequence[Line]
    is_unfolded: bool
    calls: Sequence[Calls] | None = ()

    @property
    def key(self) -> str:
        """What the row has in place of a circuit's key; no circuit's key looks like it."""
        return f"{self.name}/"

    @property
    def worst(self) -> Line:
        """The most urgent circuit; of several, the one that has been down longest."""
        return min(self.members, key=lambda line: line.badness)

    @property
    def listed(self) -> Sequence[Line]:
        """The members that are listed below the row."""
        return self.members[:MOST_MEMBERS] if self.is_unfolded else ()

    @property
    def number(self) -> str:
        """How many circuits there are, in words."""
        number = len(self.members)
        return ngettext("%s circuit", "%s circuits", number) % grouped(number)

    @property
    def counts(self) -> str:
        """How many circuits are not closed, by kind and in words; if all are closed, that."""
        found = Counter(line.kind for line in self.members)
        numbers = [(kind, found[kind]) for kind in _KINDS.values() if found[kind]]
        everything = [(State.CLOSED.value, len(self.members))]
        return ", ".join(number_words(kind, number) for kind, number in numbers or everything)


#: What the list has one row for while it is folded.
Entry: TypeAlias = Line | Family


def fold(lines: Iterable[Line], unfolded: Collection[str] = ()) -> list[Entry]:
    """Return the entries of a list, each where its first circuit was.

    A circuit that is listed without others of its family stands for itself.
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
    """Yield the keys of the circuits that are needed to show the entries."""
    for entry in entries:
        if isinstance(entry, Line):
            yield entry.pk
        else:
            yield entry.worst.pk
            yield from (line.pk for line in entry.listed)


def rows_of(entries: Iterable[Entry], circuits: Mapping[int, Circuit]) -> Iterator[Circuit]:
    """Yield the rows of the entries, without circuits that are gone."""
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
    # What is told as news is a change of the counts, not one of the worst circuit.
    row.generation = family.counts
    values = {"family": spelled_out(family.name), "circuits": family.number}
    row.name = _("%(family)s (%(circuits)s)") % values
    return row  # type: ignore[no-any-return]


def family_on(row: Any) -> Family | None:
    """Return the family that a row of the list stands for, if it stands for one."""
    found: Family | None = getattr(row, "stands_for", None)
    return found


# Calls -------------------------------------------------------------------------------------------


def summed_keys(entries: Iterable[Entry]) -> set[int]:
    """Return the keys of the circuits whose calls are added up."""
    return {line.pk for family in _summed(entries) for line in family.members}


def with_calls(entries: Iterable[Entry], calls: Mapping[int, Sequence[Calls]]) -> Iterator[Entry]:
    """Yield the entries, the families with the sums of their calls.

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
    """Yield the first families that have no more than so many circuits together."""
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
    """Return how many circuits are in which state, and since when the worst one is down."""
    # One element, since a theme may put what is in a cell beside each other.
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
    """Return a link to all members, where not all are listed below the row."""
    number = len(family.listed)
    if number in (0, len(family.members)):
        return ""
    words = _("The first %(number)s are listed here; list them all") % {"number": grouped(number)}
    return format_html(' <a href="{}">{}</a>', row.all_url, words)


def member_mark(row: Any) -> str:
    """Return the mark of a circuit that is listed below the row of its family."""
    return _MEMBER if getattr(row, "is_member", False) else ""


def why(row: Any, family: Family, words: str) -> str:
    """Return why the worst circuit is as it is, below a row that is folded."""
    if family.is_unfolded or words == display.NOTHING:
        return display.NOTHING
    return format_html('<span class="circuits-why">{}: {}</span>', row.worst_name, words)


def calls(family: Family) -> str:
    """Return the sums of the last hour's calls as a chart."""
    return display.NOTHING if family.calls is None else sparkline(family.calls)


def news(row: Circuit, family: Family) -> str:
    """Return the sentence in which a change is told; nothing where the members tell it."""
    if family.is_unfolded:
        return ""
    return _("%(family)s: %(counts)s.") % {"family": row, "counts": family.counts}


# The address -------------------------------------------------------------------------------------


def unfolded_in(value: str) -> frozenset[str]:
    """Return the families that the address of a list unfolds."""
    return frozenset(filter(None, value.split("/")))


def toggled(query: QueryDict, family: str) -> str:
    """Return the query string of a list in which a family is unfolded, or folded if it was not."""
    changed = query.copy()
    names = unfolded_in(changed.get(UNFOLDED, "")) ^ {family}
    changed[UNFOLDED] = "/".join(sorted(names))
    if not names:
        del changed[UNFOLDED]
    return changed.urlencode(safe="/")
