"""Draws calls by their outcome: a sparkline for a list, a chart with a legend for a page.

Colour is never the only sign: dashes tell how calls went. Bars are strokes, not shapes, since those
have dashes without a pattern, whose id a page may hold once only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...reports.statistics import Calls
from ...reports.words import grouped
from .axis import AXIS, LAST_DAY, LAST_HOUR, axis, line, slot_titles

#: The height of the smallest bar: one failure in a million calls is seen. Sizes are in pixels.
LEAST: Final = 2

#: The width of a sparkline's slot, and the height of it all.
SPARK_SLOT: Final = 4
SPARK_HEIGHT: Final = 20

#: The room above a chart for its maximum, and the height of its bars.
HEAD: Final = 16
PLOT: Final = 80

_SERIES: Final = Calls._fields


def sparkline(slots: Sequence[Calls], period: Any = LAST_HOUR) -> SafeString:
    """Return a small chart of calls: a stacked bar for each slot, the busiest as high as there is.

    Args:
        slots: How the calls went, the oldest first.
        period: What time that is, as it is called in a sentence.
    """
    words = _in_words(slots, period)
    floor = SPARK_HEIGHT - 1
    return format_html(
        '<svg class="circuits-spark" role="img" aria-label="{}" width="{}" height="{}"'
        ' stroke-width="{}"><title>{}</title><path class="circuits-base" stroke-width="1"'
        ' d="M0 {}.5H{}"/>{}</svg>',
        words,
        SPARK_SLOT * max(1, len(slots)),
        SPARK_HEIGHT,
        SPARK_SLOT - 1,
        words,
        floor,
        SPARK_SLOT * len(slots),
        _bars(slots, _busiest(slots), SPARK_SLOT, floor),
    )


def outcome_chart(
    slots: Sequence[Calls], start: float, slot_seconds: float, period: Any = LAST_DAY
) -> SafeString:
    """Return a chart of calls as wide as its place, with axes and a legend.

    Args:
        slots: How the calls went, the oldest first.
        start: When the first slot began, in seconds since 1970.
        slot_seconds: How long each slot is.
        period: What time that is, as it is called in a sentence.
    """
    words = _in_words(slots, period)
    most = _round_up(_busiest(slots))
    return format_html(
        '<figure class="circuits-chart"><svg role="img" aria-label="{}" width="100%" height="{}">'
        '<text x="0" y="{}">{}</text>{}{}<svg y="{}" width="100%" height="{}"'
        ' viewBox="0 0 {} {}" preserveAspectRatio="none" stroke-width="0.8">{}{}</svg>{}</svg>'
        "<figcaption>{}</figcaption></figure>",
        words,
        HEAD + PLOT + AXIS,
        HEAD - 5,
        _calls(most) if most else words,
        line("circuits-grid", HEAD),
        line("circuits-base", HEAD + PLOT),
        HEAD,
        PLOT,
        max(1, len(slots)),
        PLOT,
        _bars(slots, most, 1, PLOT),
        slot_titles([_some_in_words(each) for each in slots], start, slot_seconds, PLOT),
        axis(start, start + slot_seconds * len(slots), HEAD + PLOT),
        _calls_legend(slots),
    )


def _bars(slots: Sequence[Calls], most: int, width: int, floor: int) -> SafeString:
    """Return a path for each way a call can go, through all slots."""
    piles = [_heights(calls, most, floor) for calls in slots]
    paths = (
        (name, "".join(_strokes([pile[: index + 1] for pile in piles], width, floor)))
        for index, name in enumerate(_SERIES)
    )
    drawn = ((name, path) for name, path in paths if path)
    return format_html_join("", '<path class="circuits-{}" d="{}"/>', drawn)


def _strokes(piles: Sequence[Sequence[int]], width: int, floor: int) -> Iterator[str]:
    """Draw the topmost of each pile of bars, from below."""
    for index, (*below, height) in enumerate(piles):
        if height:
            yield f"M{(index + 0.5) * width:g} {floor - sum(below)}v-{height}"


def _heights(calls: Calls, most: int, room: int) -> list[int]:
    """Return how high the bars are: each in its share, but seen, and none above the room."""
    heights = [max(LEAST, round(count * room / most)) if count else 0 for count in calls]
    tallest = heights.index(max(heights))
    heights[tallest] -= max(0, sum(heights) - room)
    return heights


def _calls_legend(slots: Sequence[Calls]) -> SafeString:
    return format_html_join(
        "",
        '<span><svg class="circuits-swatch" width="12" height="12" aria-hidden="true">'
        '<path class="circuits-{}" stroke-width="12" d="M6 12v-12"/></svg> {}</span>',
        zip(_SERIES, _each_in_words(_total(slots)), strict=True),
    )


def _total(slots: Iterable[Calls]) -> Calls:
    return Calls(*map(sum, zip(Calls(), *slots, strict=True)))


def _busiest(slots: Iterable[Calls]) -> int:
    return max(map(sum, slots), default=0)


def _round_up(count: int) -> int:
    """Return the next number that is easy to read off an axis: a digit and zeros."""
    magnitude: int = 10 ** (len(str(count)) - 1)
    return -(-count // magnitude) * magnitude


def _in_words(slots: Sequence[Calls], period: Any) -> str:
    if not _busiest(slots):
        return _("No calls in %(period)s.") % {"period": period}
    words = _each_in_words(_total(slots))
    return _("%(successes)s, %(failures)s and %(refusals)s in %(period)s.") % {
        **dict(zip(_SERIES, words, strict=True)),
        "period": period,
    }


def _some_in_words(calls: Calls) -> str:
    some = zip(calls, _each_in_words(calls), strict=True)
    return ", ".join(words for count, words in some if count) or _("no calls")


def _each_in_words(calls: Calls) -> list[str]:
    successes, failures, refusals = calls
    return [
        ngettext("%s success", "%s successes", successes) % grouped(successes),
        ngettext("%s failure", "%s failures", failures) % grouped(failures),
        ngettext("%s refusal", "%s refusals", refusals) % grouped(refusals),
    ]


def _calls(count: int) -> str:
    return ngettext("%s call", "%s calls", count) % grouped(count)
