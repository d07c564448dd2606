"""Draws the share of calls that a throttled circuit refused, as a bar for each slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...reports.statistics import Calls
from ...reports.words import grouped, percent
from .axis import AXIS, LAST_DAY, axis, line, slot_time, slot_titles

#: The height of the heading, of the plot, and of the smallest share, in pixels.
HEAD: Final = 16
PLOT: Final = 48
LEAST: Final = 2


def refused_chart(
    slots: Sequence[Calls], start: float, slot_seconds: float, period: Any = LAST_DAY
) -> SafeString:
    """Return a chart of the share of calls refused; an empty string if none was.

    Args:
        slots: The calls of each slot, the oldest first.
        start: The beginning of the first slot, in seconds since 1970.
        slot_seconds: The length of each slot.
        period: The name of the whole time in a sentence.
    """
    if not any(each.refusals for each in slots):
        return SafeString("")
    return format_html(
        '<figure class="circuits-chart"><svg role="img" aria-label="{}" width="100%" height="{}">'
        '<text x="0" y="{}">{}</text><text x="100%" y="{}" text-anchor="end">{}</text>{}{}'
        '<svg y="{}" width="100%" height="{}" viewBox="0 0 {} {}" preserveAspectRatio="none"'
        ' stroke-width="0.8"><path class="circuits-refusals" d="{}"/>{}</svg>{}</svg></figure>',
        _in_words(slots, start, slot_seconds, period),
        HEAD + PLOT + AXIS,
        HEAD - 5,
        _("share of calls refused"),
        HEAD - 5,
        percent(1),
        line("circuits-grid", HEAD),
        line("circuits-base", HEAD + PLOT),
        HEAD,
        PLOT,
        len(slots),
        PLOT,
        "".join(_bar(index, _share(each)) for index, each in enumerate(slots) if each.refusals),
        slot_titles([_share_in_words(each) for each in slots], start, slot_seconds, PLOT),
        axis(start, start + slot_seconds * len(slots), HEAD + PLOT),
    )


def _bar(index: int, share: float) -> str:
    return f"M{index + 0.5:g} {PLOT}v-{max(LEAST, round(share * PLOT))}"


def _share(calls: Calls) -> float:
    return calls.refusals / sum(calls) if calls.refusals else 0.0


def _share_in_words(calls: Calls) -> str:
    text = ngettext(
        "%(share)s of %(number)s call refused", "%(share)s of %(number)s calls refused", sum(calls)
    )
    return text % {"share": percent(_share(calls)), "number": grouped(sum(calls))}


def _in_words(slots: Sequence[Calls], start: float, slot_seconds: float, period: Any) -> str:
    """Return a sentence about the slot with the largest share of refused calls."""
    worst = max(range(len(slots)), key=lambda index: (_share(slots[index]), slots[index].refusals))
    since, until = slot_time(worst, len(slots), start, slot_seconds)
    return _("At most %(refused)s in %(period)s, from %(since)s to %(until)s.") % {
        "refused": _share_in_words(slots[worst]),
        "period": period,
        "since": since,
        "until": until,
    }
