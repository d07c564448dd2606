"""The time axis that the charts share, and the format of their moments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ...moments import to_datetime, to_seconds
from ...reports.words import DAY, local_time

LAST_HOUR: Final = gettext_lazy("the last hour")
LAST_DAY: Final = gettext_lazy("the last day")

#: The height of the axis below a chart, in pixels.
AXIS: Final = 18

#: The labels divide an axis into this many stretches at most. A stretch lasts for one of these
#: numbers of seconds, or for whole days.
MOST_STRETCHES: Final = 8
STEPS: Final = (300, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)

#: The offsets of all time zones are multiples of a quarter of an hour.
QUARTER: Final = 900


def axis(start: float, until: float, top: int) -> SafeString:
    """Return the marks and labels below a chart, at round times such as full hours.

    Args:
        start: Where the chart begins, in seconds since 1970.
        until: Where it ends.
        top: The distance of the axis from the top of the chart, in pixels.
    """
    length = until - start or 1  # a chart without any time has one label
    marks = [(100 * (at - start) / length, label) for at, label in _labels(start, until)]
    return format_html(
        '<g class="circuits-axis">{}</g>',
        format_html_join(
            "",
            '<line x1="{0}%" x2="{0}%" y1="{1}" y2="{2}"/>'
            '<text x="{0}%" y="{3}" text-anchor="{4}">{5}</text>',
            (
                (f"{share:.4g}", top, top + 4, top + AXIS - 3, anchor(share), label)
                for share, label in marks
            ),
        ),
    )


def anchor(share: float) -> str:
    """Return the anchor of a label at a place in percent, so that it stays within the chart."""
    if share < 4:
        return "start"
    return "end" if share > 96 else "middle"


def _labels(start: float, until: float) -> Iterator[tuple[float, str]]:
    """Yield round moments in the active time zone, each with its label."""
    fitting = (step for step in STEPS if (until - start) / step <= MOST_STRETCHES)
    step = next(fitting, 0)
    return _hours(start, until, step) if step else _days(start, until)


def _hours(start: float, until: float, step: int) -> Iterator[tuple[float, str]]:
    pace = min(step, QUARTER)
    for at in range(ceil(start / pace) * pace, int(until) + 1, pace):
        local = _local(at)
        if (local.hour * 60 + local.minute) * 60 % step == 0:
            yield at, date_format(local, "H:i")


def _days(start: float, until: float) -> Iterator[tuple[float, str]]:
    apart = timedelta(days=ceil((until - start) / DAY / MOST_STRETCHES))
    midnight = _local(start).replace(hour=0, minute=0, second=0, microsecond=0)
    while (at := to_seconds(midnight)) <= until:
        if at >= start:
            yield at, date_format(midnight, "j M")
        midnight += apart


def line(name: str, y: int) -> SafeString:
    """Return a horizontal line across a chart, ``y`` pixels below its top."""
    return format_html('<line class="{}" x2="100%" y1="{}.5" y2="{}.5"/>', name, y, y)


def slot_titles(words: Sequence[str], start: float, seconds: float, height: int) -> SafeString:
    """Return an invisible shape over each slot, with the slot's time and content as its title.

    Args:
        words: The content of each slot in words.
        start: The beginning of the first slot, in seconds since 1970.
        seconds: The length of each slot.
        height: The height of the shapes in pixels.
    """
    times = [slot_time(index, len(words), start, seconds) for index in range(len(words))]
    titles = [
        _("%(since)s to %(until)s: %(calls)s") % {"since": since, "until": until, "calls": held}
        for (since, until), held in zip(times, words, strict=True)
    ]
    return format_html(
        '<g class="circuits-slots">{}</g>',
        format_html_join(
            "",
            '<rect x="{}" width="1" height="{}"><title>{}</title></rect>',
            ((index, height, each) for index, each in enumerate(titles)),
        ),
    )


def slot_time(index: int, number: int, start: float, seconds: float) -> tuple[str, str]:
    """Return the beginning and the end of a slot as texts in the active time zone."""
    form = moment_form("H:i", number * seconds)
    since = start + index * seconds
    return moment_text(since, form), moment_text(since + seconds, form)


def moment_form(clock: str, length: float) -> str:
    """Return the format for moments in a chart: with the day if the chart is longer than a day."""
    return clock if length <= DAY else f"j M {clock}"


def moment_text(seconds: float, form: str) -> str:
    """Return a moment as a text in the active time zone."""
    return date_format(_local(seconds), form)


def _local(seconds: float) -> datetime:
    return local_time(to_datetime(seconds))
