"""Numbers and lengths of time in sentences, with as many digits as an estimate has."""

from __future__ import annotations

from decimal import Decimal
from math import isinf
from typing import Final

from django.utils.formats import number_format
from django.utils.translation import gettext as _

from ..core import latency
from .words import DAY, HOUR, MINUTE, duration, grouped

#: Seconds beyond which a length of time is told no closer.
LIFETIME: Final = 100 * 365 * DAY


def about(seconds: float) -> str:
    """Return a length of time for an estimate: ``0.4 seconds``, ``3 months, 2 weeks``."""
    if isinf(seconds) or seconds > LIFETIME:
        return _("more than a hundred years")
    if seconds < 10 and round(seconds, 1) % 1:
        return _("%(number)s seconds") % {"number": short(seconds)}
    return duration(round(seconds))


def percent(share: float) -> str:
    """Return a share from 0 to 1 in percent, with two digits: ``0.42 %``."""
    return _("%(number)s %%") % {"number": short(100 * share)}


def short(number: float) -> str:
    """Return a number with two digits, or all before the point: ``0.042``, ``7.5``, ``612``."""
    if isinf(number):
        return "∞"
    if number >= 10:
        return grouped(round(number))
    # A Decimal is written in full, whatever its size.
    return number_format(Decimal(f"{number:.2g}").normalize())


def answered_within(seconds: float) -> str:
    """Return how long an answer took: ``120 ms``, ``1.5 s``, ``more than 20 s``."""
    if seconds >= latency.BOUNDS[-1]:
        return _("more than %(time)s") % {"time": spell(latency.BOUNDS[-1])}
    if seconds < 1:
        return _("%(number)s ms") % {"number": short(max(1.0, 1_000 * seconds))}
    return spell(float(f"{seconds:.2g}"))


def spell(seconds: float) -> str:
    """Return a length of time as it was set: ``2.5 s``, ``90 s``, ``5 min``, ``2 h``."""
    if seconds >= HOUR and seconds % HOUR == 0:
        return _("%(number)s h") % {"number": grouped(round(seconds / HOUR))}
    if seconds >= 2 * MINUTE and seconds % MINUTE == 0:
        return _("%(number)s min") % {"number": grouped(round(seconds / MINUTE))}
    return _("%(number)s s") % {"number": number_format(Decimal(f"{seconds:.6g}").normalize())}
