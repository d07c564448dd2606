"""Writes numbers, times and states in plain words; used wherever they are shown."""

from __future__ import annotations

from datetime import datetime
from math import ceil
from typing import Final

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..core.status import State
from ..moments import to_datetime

MINUTE: Final = 60
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

#: Kinds of circuits besides their states.
FORCED: Final = "forced"
OBSERVED: Final = "observed"
#: Closed, and yet refusing calls: it ramps up, is at its limit, or was down within the hour.
UNSTEADY: Final = "unsteady"
#: Its calls fail or are late because somebody injects faults.
INJECTED: Final = "injected"

#: A sign for each kind. Their shapes differ, so that nobody depends on colours.
SIGNS: Final[dict[str, str]] = {
    State.CLOSED: "✓",
    State.OPEN: "✕",
    State.HALF_OPEN: "◐",
    FORCED: "!",
    OBSERVED: "◌",
    UNSTEADY: "▲",
    INJECTED: "↯",
}


def number_words(kind: str, number: int) -> str:
    """Return words for a number of circuits of one kind: ``3 half open``."""
    text = {
        State.CLOSED: ngettext("%s closed", "%s closed", number),
        State.OPEN: ngettext("%s open", "%s open", number),
        State.HALF_OPEN: ngettext("%s half open", "%s half open", number),
        FORCED: ngettext("%s forced", "%s forced", number),
        OBSERVED: ngettext("%s observed", "%s observed", number),
        UNSTEADY: ngettext("%s unsteady", "%s unsteady", number),
    }[kind]
    return text % grouped(number)


def grouped(number: int) -> str:
    """Return a number with its digits grouped: ``1,234``."""
    return number_format(number, force_grouping=True)


def percent(share: float) -> str:
    """Return a share, from 0 to 1, in whole percent: ``75 %``.

    Only a share of exactly 0 is written as 0 %, and only one of exactly 1 as 100 %.
    """
    whole = 100 * share
    rounded = round(whole) if whole in (0, 100) else min(99, max(1, round(whole)))
    return _("%d %%") % rounded


def moment_of_day(moment: datetime, now: float) -> str:
    """Return a time to the minute, with its date unless it is today: ``09:30``, ``3 Nov 09:30``."""
    local, today = local_time(moment), local_time(to_datetime(now))
    return date_format(local, "H:i" if local.date() == today.date() else "j M H:i")


def local_time(moment: datetime) -> datetime:
    """Return a time in the current time zone; without ``USE_TZ`` it already is."""
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment


def duration(seconds: float) -> str:
    """Return a length of time in words: ``12 seconds``, ``1 hour, 5 minutes``."""
    if seconds < MINUTE:
        return ngettext("%d second", "%d seconds", int(seconds)) % int(seconds)
    return timesince(to_datetime(0), to_datetime(seconds))


def clock(seconds: float) -> str:
    """Return the time left as a clock shows it: ``7 s``, ``2:05``, ``1:02:05``.

    The script that counts down on the pages writes the same form.
    """
    left = ceil(seconds)
    if left < MINUTE:
        return f"{left} s"
    if left < HOUR:
        return f"{left // MINUTE}:{left % MINUTE:02}"
    return f"{left // HOUR}:{left % HOUR // MINUTE:02}:{left % MINUTE:02}"
