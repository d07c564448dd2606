"""Draws calls by their outcome: a sparkline for a list, a chart with a legend for a page.

Colour is never the only sign: each outcome has its own dashes. The bars are strokes, since a stroke
can be dashed without a pattern; a pattern needs an id, which a page may hold only once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...reports.statistics import Calls
from ...reports.words import grouped, percent
from .axis import AXIS, LAST_DAY, LAST_HOUR, axis, line, slot_time, slot_titles

#: The least height of a bar, so that one failure in a million calls is seen. Sizes are in pixels.
LEAST: Final = 2

#: The width of a slot of a sparkline, and the height of the sparkline.
SPARK_SLOT: Final = 4
SPARK_HEIGHT: Final = 20

#: The height of the line with the maximum above a chart, and the height of the bars.
HEAD: Final = 16
PLOT: Final = 80

#: The height of the heading of the shares of failures, and the height of a share of 100 %.
SHARES_HEAD: Final = 18
SHARES_PLOT: Final = 32

_SERIES: Final = Calls._fields


class Limit(NamedTuple):
    """A limit to the share of failures.

    Args:
        share: The share, from 0 to 1.
        legend: What the circuit does there, such as "opens at 50 % failures".
    """

    share: float
    legend: str


def sparkline(slots: Sequence[Calls], period: Any = LAST_HOUR) -> SafeString:
    """Return a small chart of calls with a stacked bar for each slot, scaled to the busiest slot.

    Args:
        slots: The calls of each slot, the oldest first.
        period: The name of the whole time in a sentence.
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
    slots: Sequence[Calls],
    start: float,
    slot_seconds: float,
    period: Any = LAST_DAY,
    limit: Limit | None = None,
) -> SafeString:
    """Return a chart of calls with axes and a legend, as wide as its container.

    If any call failed, a second plot below shows the share of failures in each slot. There a slot
    with few calls is as easy to read as a busy one.

    Args:
        slots: The calls of each slot, the oldest first.
        start: The beginning of the first slot, in seconds since 1970.
        slot_seconds: The length of each slot.
        period: The name of the whole time in a sentence.
        limit: The limit to the share of failures; None if the circuit has none.
    """
    words = _in_words(slots, period)
    most = _round_up(_busiest(slots))
    shares = list(map(_share, slots)) if any(each.failures for each in slots) else []
    room = PLOT + (SHARES_HEAD + SHARES_PLOT if shares else 0)
    return format_html(
        '<figure class="circuits-chart"><svg role="img" aria-label="{}" width="100%" height="{}">'
        '<text x="0" y="{}">{}</text>{}{}{}<svg y="{}" width="100%" height="{}"'
        ' viewBox="0 0 {} {}" preserveAspectRatio="none" stroke-width="0.8">{}{}{}</svg>{}{}</svg>'
        "<figcaption>{}{}</figcaption></figure>",
        f"{words} {_worst_in_words(slots, start, slot_seconds)}".strip() if shares else words,
        HEAD + room + AXIS,
        HEAD - 5,
        _calls(most) if most else words,
        line("circuits-grid", HEAD),
        line("circuits-base", HEAD + PLOT),
        _shares_frame() if shares else "",
        HEAD,
        room,
        max(1, len(slots)),
        room,
        _bars(slots, most, 1, PLOT),
        _share_bars(shares, room),
        slot_titles([_some_in_words(each) for each in slots], start, slot_seconds, room),
        _limit_line(limit) if shares and limit else "",
        axis(start, start + slot_seconds * len(slots), HEAD + room),
        _calls_legend(slots),
        _limit_legend(limit) if shares and limit else "",
    )


def _bars(slots: Sequence[Calls], most: int, width: int, floor: int) -> SafeString:
    """Return a path for each outcome, with its bars in all slots."""
    piles = [_heights(calls, most, floor) for calls in slots]
    paths = (
        (name, "".join(_strokes([pile[: index + 1] for pile in piles], width, floor)))
        for index, name in enumerate(_SERIES)
    )
    drawn = ((name, path) for name, path in paths if path)
    return format_html_join("", '<path class="circuits-{}" d="{}"/>', drawn)


def _strokes(piles: Sequence[Sequence[int]], width: int, floor: int) -> Iterator[str]:
    """Yield a stroke for the topmost bar of each pile, from its foot upwards."""
    for index, (*below, height) in enumerate(piles):
        if height:
            yield f"M{(index + 0.5) * width:g} {floor - sum(below)}v-{height}"


def _heights(calls: Calls, most: int, room: int) -> list[int]:
    """Return the heights of a pile's bars: each can be seen, and together they fit the room."""
    heights = [max(LEAST, round(count * room / most)) if count else 0 for count in calls]
    tallest = heights.index(max(heights))
    heights[tallest] -= max(0, sum(heights) - room)
    return heights


# The share of failures ---------------------------------------------------------------------------


def _share(calls: Calls) -> float:
    """Return the share of failures among the calls that were made; a refused call was not."""
    made = calls.successes + calls.failures
    return calls.failures / made if made else 0.0


def _shares_frame() -> SafeString:
    """Return the heading of the plot of shares, and its lines at 100 % and 0 %."""
    top = HEAD + PLOT + SHARES_HEAD
    return format_html(
        '<text x="0" y="{0}">{1}</text><text x="100%" y="{0}" text-anchor="end">{2}</text>{3}{4}',
        top - 5,
        _("share of failures"),
        percent(1),
        line("circuits-grid", top),
        line("circuits-base", top + SHARES_PLOT),
    )


def _share_bars(shares: Sequence[float], floor: int) -> SafeString:
    bars = "".join(
        f"M{index + 0.5:g} {floor}v-{max(LEAST, round(share * SHARES_PLOT))}"
        for index, share in enumerate(shares)
        if share
    )
    return format_html('<path class="circuits-share" d="{}"/>', bars) if bars else SafeString("")


def _limit_line(limit: Limit) -> SafeString:
    floor = HEAD + PLOT + SHARES_HEAD + SHARES_PLOT
    return line("circuits-limit", floor - round(limit.share * SHARES_PLOT))


def _limit_legend(limit: Limit) -> SafeString:
    return format_html(
        '<span><svg class="circuits-swatch" width="18" height="12" aria-hidden="true">'
        '<path class="circuits-limit" d="M0 6h18"/></svg> {}</span>',
        limit.legend,
    )


def _worst_in_words(slots: Sequence[Calls], start: float, slot_seconds: float) -> str:
    """Return a sentence about the slot with the highest share of failures.

    Of slots with equal shares it names the one with the most failures.
    """
    worst = max(range(len(slots)), key=lambda index: (_share(slots[index]), slots[index].failures))
    since, until = slot_time(worst, len(slots), start, slot_seconds)
    return _("The highest share of failures was %(share)s, from %(since)s to %(until)s.") % {
        "share": _share_in_words(slots[worst]),
        "since": since,
        "until": until,
    }


def _share_in_words(calls: Calls) -> str:
    made = calls.successes + calls.failures
    text = ngettext("%(share)s of %(number)s call", "%(share)s of %(number)s calls", made)
    return text % {"share": percent(_share(calls)), "number": grouped(made)}


# In words ----------------------------------------------------------------------------------------


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
    """Return the next number that is a digit followed by zeros, which is easy to read off."""
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
    successes, failures, refusals = _each_in_words(calls)
    if calls.failures:
        failures = f"{failures} ({_share_in_words(calls)})"
    some = zip(calls, (successes, failures, refusals), strict=True)
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
