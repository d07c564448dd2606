"""Numbers, times and states in plain words, wherever they are shown."""

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

#: What circuits can be besides their state.
FORCED: Final = "forced"
OBSERVED: Final = "observed"
#: Closed, and yet refusing calls: it ramps up, is at its limit, or was down within the hour.
UNSTEADY: Final = "unsteady"
# Signs of different shapes: the colour is never the only one.
SIGNS: Final[dict[str, str]] = {
    State.CLOSED: "✓",
    State.OPEN: "✕",
    State.HALF_OPEN: "◐",
    FORCED: "!",
    OBSERVED: "◌",
    UNSTEADY: "▲",
}


def number_words(kind: str, number: int) -> str:
    """Return how many circuits are of a kind."""
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
    """Return a number as people write it: ``1,234``."""
    return number_format(number, force_grouping=True)


def percent(share: float) -> str:
    """Return a share from 0 to 1 in whole percent: ``75 %``; never 0 for some nor 100 for most."""
    whole = 100 * share
    rounded = round(whole) if whole in (0, 100) else min(99, max(1, round(whole)))
    return _("%d %%") % rounded


def moment_of_day(moment: datetime, now: float) -> str:
    """Return a moment to the minute, with its day where that is another one than today."""
    local, today = local_time(moment), local_time(to_datetime(now))
    return date_format(local, "H:i" if local.date() == today.date() else "j M H:i")


def local_time(moment: datetime) -> datetime:
    """Return a moment by the clock of whoever looks; without ``USE_TZ`` it already is."""
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment


def duration(seconds: float) -> str:
    """Return a length of time as people say it: ``12 seconds``, ``1 hour, 5 minutes``."""
    if seconds < MINUTE:
        return ngettext("%d second", "%d seconds", int(seconds)) % int(seconds)
    return timesince(to_datetime(0), to_datetime(seconds))


def clock(seconds: float) -> str:
    """Return what is left of a time as a clock shows it: ``7 s``, ``2:05``, ``1:02:05``.

    The script that counts down writes the same.
    """
    left = ceil(seconds)
    if left < MINUTE:
        return f"{left} s"
    if left < HOUR:
        return f"{left // MINUTE}:{left % MINUTE:02}"
    return f"{left // HOUR}:{left % HOUR // MINUTE:02}:{left % MINUTE:02}"
