"""Writes numbers and lengths of time for sentences, with no more digits than an estimate has."""

from __future__ import annotations

from decimal import Decimal
from math import isinf
from typing import Final

from django.utils.formats import number_format
from django.utils.translation import gettext as _

from ..core import latency
from .words import DAY, HOUR, MINUTE, duration, grouped

#: Seconds beyond which a length of time is only called "more than a hundred years".
LIFETIME: Final = 100 * 365 * DAY


def approximate_time(seconds: float) -> str:
    """Return an estimated length of time: ``0.4 seconds``, ``3 months, 2 weeks``."""
    if isinf(seconds) or seconds > LIFETIME:
        return _("more than a hundred years")
    if seconds < 10 and round(seconds, 1) % 1:
        return _("%(number)s seconds") % {"number": rounded(seconds)}
    return duration(round(seconds))


def percent(share: float) -> str:
    """Return a share, from 0 to 1, in percent with two digits: ``0.42 %``."""
    return _("%(number)s %%") % {"number": rounded(100 * share)}


def rounded(number: float) -> str:
    """Return a number with two digits, or as a whole number: ``0.042``, ``7.5``, ``612``."""
    if isinf(number):
        return "∞"
    if number >= 10:
        return grouped(round(number))
    # Unlike a float, a Decimal is never written with an exponent.
    return number_format(Decimal(f"{number:.2g}").normalize())


def answered_within(seconds: float) -> str:
    """Return how long an answer took: ``120 ms``, ``1.5 s``, ``more than 20 s``."""
    if seconds >= latency.BOUNDS[-1]:
        return _("more than %(time)s") % {"time": exact_time(latency.BOUNDS[-1])}
    if seconds < 1:
        return _("%(number)s ms") % {"number": rounded(max(1.0, 1_000 * seconds))}
    return exact_time(float(f"{seconds:.2g}"))


def exact_time(seconds: float) -> str:
    """Return a length of time exactly, as it was set: ``2.5 s``, ``90 s``, ``5 min``, ``2 h``."""
    if seconds >= HOUR and seconds % HOUR == 0:
        return _("%(number)s h") % {"number": grouped(round(seconds / HOUR))}
    if seconds >= 2 * MINUTE and seconds % MINUTE == 0:
        return _("%(number)s min") % {"number": grouped(round(seconds / MINUTE))}
    return _("%(number)s s") % {"number": number_format(Decimal(f"{seconds:.6g}").normalize())}
