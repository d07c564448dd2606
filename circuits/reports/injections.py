"""Tells people of the faults that are injected: which circuits, what happens, and until when."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from .. import conf
from ..core.injection import Injection
from ..fields import with_clock
from ..models import Circuit
from ..moments import to_datetime
from .numbers import exact_time
from .readings import Reading, reading_of
from .words import percent

#: The most circuits that are named.
MOST: Final = 100


class Injected(NamedTuple):
    """A circuit into whose calls faults are injected.

    Args:
        reading: The circuit.
        words: What happens to its calls: ``50 % fail, the others are 2 s late``.
        until: When it ends by itself.
    """

    reading: Reading
    words: str
    until: datetime


def under_way(circuits: QuerySet[Any] | None = None) -> list[Injected]:
    """Return the circuits into whose calls faults are injected at present, by name.

    Nothing is asked of the database if the settings do not allow it.

    Args:
        circuits: The circuits to look at; all by default.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    if not conf.get().allow_injection:
        return []
    rows = Circuit.objects.all() if circuits is None else circuits
    latest = with_clock(rows.filter(injected_until__isnull=False)).order_by("-injected_until")
    found = [each for row in latest[:MOST] if (each := of(reading_of(row))) is not None]
    return sorted(found, key=lambda each: each.reading.circuit.name)


def of(reading: Reading) -> Injected | None:
    """Return what is injected into the calls of a circuit at present; None if nothing is."""
    found = reading.injection
    return None if found is None else Injected(reading, words(found), to_datetime(found.until))


def words(injection: Injection) -> str:
    """Return what happens to calls, in words."""
    values = {
        "share": percent(injection.failures),
        "delay": exact_time(injection.delay),
    }
    if not injection.delay:
        return _("%(share)s fail") % values
    if not injection.failures:
        return _("%(delay)s late") % values
    return _("%(share)s fail, the others are %(delay)s late") % values
