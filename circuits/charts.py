"""Calls, timelines and countdowns drawn as SVG, with what they show in words for who sees none.

The colours are those of ``circuits/charts.css`` and ``circuits/admin.css``. Colour is never the
only sign: dashes tell how calls went, heights tell states. Bars are strokes, not shapes, since
those have dashes without a pattern, whose id a page may hold once only.

What stretches with the page has a view box of its own, so that the texts keep their size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from math import ceil
from operator import attrgetter
from typing import Any, Final, NamedTuple

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .display import duration
from .machine import Mode, State
from .models import MODES, STATES
from .rows import to_datetime, to_seconds
from .statistics import Calls
from .timeline import Span

LAST_HOUR: Final = gettext_lazy("the last hour")
LAST_DAY: Final = gettext_lazy("the last day")

#: The height of the smallest bar: one failure in a million calls is seen. Sizes are in pixels.
LEAST: Final = 2

#: The width of a sparkline's slot, and the height of it all.
SPARK_SLOT: Final = 4
SPARK_HEIGHT: Final = 24

#: The room above a chart of calls for its maximum, and the height of its bars.
HEAD: Final = 16
PLOT: Final = 80

#: The room below a chart for the time axis.
AXIS: Final = 18

#: How many pieces a timeline tells apart: on a wide screen two pixels, of a day four minutes.
CELLS: Final = 360

DAY: Final = 86_400

#: The most stretches that the labels of a time axis cut it into, and how many seconds one may have
#: where it is no number of days.
MOST_STRETCHES: Final = 8
STEPS: Final = (300, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)

#: Every time zone is a number of quarters of an hour away from the others.
QUARTER: Final = 900


class _Band(NamedTuple):
    """A part of a timeline: where its bars stand, and how high each is, the best thing first."""

    floor: int
    heights: dict[str, int]


_STATES: Final = _Band(24, {State.CLOSED: 6, State.HALF_OPEN: 15, State.OPEN: 24})
_MODES: Final = _Band(
    31, {Mode.AUTOMATIC: 0, Mode.OBSERVE: 2, Mode.FORCED_CLOSED: 5, Mode.FORCED_OPEN: 5}
)
_WORDS: Final[dict[str, Any]] = {**dict(STATES), **dict(MODES)}

_SERIES: Final = Calls._fields


# Calls -------------------------------------------------------------------------------------------


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
        _line("circuits-grid", HEAD),
        _line("circuits-base", HEAD + PLOT),
        HEAD,
        PLOT,
        max(1, len(slots)),
        PLOT,
        _bars(slots, most, 1, PLOT),
        _slot_titles(slots, start, slot_seconds),
        _axis(start, start + slot_seconds * len(slots), HEAD + PLOT),
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
    heights = [max(LEAST, round(number * room / most)) if number else 0 for number in calls]
    tallest = heights.index(max(heights))
    heights[tallest] -= max(0, sum(heights) - room)
    return heights


def _slot_titles(slots: Sequence[Calls], start: float, seconds: float) -> SafeString:
    """Return an unseen shape over each slot that says what it holds to who points at it."""
    moments = [start + index * seconds for index in range(len(slots) + 1)]
    form = _form("H:i", moments[-1] - start)
    clocks = [date_format(_local(moment), form) for moment in moments]
    words = [
        _("%(since)s to %(until)s: %(calls)s")
        % {"since": since, "until": until, "calls": _some_in_words(calls)}
        for (since, until), calls in zip(pairwise(clocks), slots, strict=True)
    ]
    return format_html(
        '<g class="circuits-slots">{}</g>',
        format_html_join(
            "",
            '<rect x="{}" width="1" height="{}"><title>{}</title></rect>',
            ((index, PLOT, each) for index, each in enumerate(words)),
        ),
    )


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


def _round_up(number: int) -> int:
    """Return the next number that is easy to read off an axis: a digit and zeros."""
    magnitude: int = 10 ** (len(str(number)) - 1)
    return -(-number // magnitude) * magnitude


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
    return ", ".join(words for number, words in some if number) or _("no calls")


def _each_in_words(calls: Calls) -> list[str]:
    successes, failures, refusals = calls
    return [
        ngettext("%s success", "%s successes", successes) % _number(successes),
        ngettext("%s failure", "%s failures", failures) % _number(failures),
        ngettext("%s refusal", "%s refusals", refusals) % _number(refusals),
    ]


def _calls(number: int) -> str:
    return ngettext("%s call", "%s calls", number) % _number(number)


def _number(number: int) -> str:
    return number_format(number, force_grouping=True)


# Times -------------------------------------------------------------------------------------------


def _axis(start: float, until: float, top: int) -> SafeString:
    """Return marks and labels below a chart, at full hours or the like."""
    length = until - start or 1  # a chart of nothing has one label
    marks = [(100 * (at - start) / length, label) for at, label in _labels(start, until)]
    return format_html(
        '<g class="circuits-axis">{}</g>',
        format_html_join(
            "",
            '<line x1="{0}%" x2="{0}%" y1="{1}" y2="{2}"/>'
            '<text x="{0}%" y="{3}" text-anchor="{4}">{5}</text>',
            (
                (f"{share:.4g}", top, top + 4, top + AXIS - 3, _anchor(share), label)
                for share, label in marks
            ),
        ),
    )


def _anchor(share: float) -> str:
    """Return where a label has its mark: one at an end must not go beyond it."""
    if share < 4:
        return "start"
    return "end" if share > 96 else "middle"


def _labels(start: float, until: float) -> Iterator[tuple[float, str]]:
    """Yield moments that are even by the clock of whoever looks, and what they are called."""
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


def _form(clock: str, length: float) -> str:
    """Return how to write a moment of a time that is so long: with its day if there are several."""
    return clock if length <= DAY else f"j M {clock}"


def _local(seconds: float) -> datetime:
    moment = to_datetime(seconds)
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment


def _line(name: str, y: int) -> SafeString:
    return format_html('<line class="{}" x2="100%" y1="{}.5" y2="{}.5"/>', name, y, y)


# Timeline ----------------------------------------------------------------------------------------


class _Stretch(NamedTuple):
    """A time in one state, or in one mode."""

    value: str
    since: float
    until: float


class _Block(NamedTuple):
    """Cells next to each other that are drawn as one, and the stretches they stand for."""

    first: int
    width: int
    stretches: Sequence[_Stretch]

    @property
    def value(self) -> str:
        return self.stretches[0].value


def timeline_chart(
    spans: Sequence[Span], start: float, until: float, period: Any = LAST_DAY
) -> SafeString:
    """Return a band that shows what a circuit was in, aligned with a chart of calls of that time.

    What is too short to be seen is drawn as wide as can be seen, and of several such things the
    worst is shown.

    Args:
        spans: What it was in, without gaps, the oldest first.
        start: Where the band begins, in seconds since 1970.
        until: Where it ends; the spans may end before.
        period: What time that is, as it is called in a sentence.
    """
    states, modes = _stretches(spans, "state"), _stretches(spans, "mode")
    form = _form("H:i:s", until - start)
    of_states, of_modes = _lasted(states, _STATES), _lasted(modes, _MODES)
    return format_html(
        '<figure class="circuits-chart"><svg role="img" aria-label="{}" width="100%" height="{}">'
        '<svg width="100%" height="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">{}{}</svg>'
        "{}{}</svg><figcaption>{}{}</figcaption></figure>",
        " ".join([_openings(states, period), *(f"{words}." for words in of_modes.values())]),
        _MODES.floor + AXIS,
        _MODES.floor,
        CELLS,
        _MODES.floor,
        _rects(_blocks(states, _STATES, start, until), _STATES, form),
        _rects(_blocks(modes, _MODES, start, until), _MODES, form),
        _line("circuits-base", _STATES.floor),
        _axis(start, until, _MODES.floor),
        _timeline_legend(of_states, _STATES),
        _timeline_legend(of_modes, _MODES),
    )


def _stretches(spans: Sequence[Span], part: str) -> list[_Stretch]:
    """Return how long each state, or each mode, lasted at a time."""
    alike = ((value, list(same)) for value, same in groupby(spans, attrgetter(part)))
    return [_Stretch(value, same[0].since, same[-1].until) for value, same in alike]


def _blocks(
    stretches: Sequence[_Stretch], band: _Band, start: float, until: float
) -> Iterator[_Block]:
    """Yield what is drawn: each cell as the worst of what it holds, equal ones in one piece."""
    worse = list(band.heights).index
    cells: list[list[_Stretch]] = [[] for _cell in range(CELLS)]
    for stretch in stretches:
        for cell in _touched(stretch, start, until):
            cells[cell].append(stretch)
    worst = [max((each.value for each in held), key=worse, default="") for held in cells]
    for value, same in groupby(range(CELLS), worst.__getitem__):
        block = list(same)
        held = dict.fromkeys(each for cell in block for each in cells[cell] if each.value == value)
        if value and band.heights[value]:
            yield _Block(block[0], len(block), list(held))


def _touched(stretch: _Stretch, start: float, until: float) -> range:
    """Return the cells that a stretch is in, at least one."""
    scale = CELLS / (until - start)
    first = max(0, min(CELLS - 1, int((stretch.since - start) * scale)))
    return range(first, max(first + 1, min(CELLS, ceil((stretch.until - start) * scale))))


def _rects(blocks: Iterable[_Block], band: _Band, form: str) -> SafeString:
    return format_html_join(
        "",
        '<rect class="circuits-was-{}" x="{}" y="{}" width="{}" height="{}">'
        "<title>{}</title></rect>",
        (
            (
                block.value,
                block.first,
                band.floor - band.heights[block.value],
                block.width,
                band.heights[block.value],
                _block_in_words(block, form),
            )
            for block in blocks
        ),
    )


def _block_in_words(block: _Block, form: str) -> str:
    count, since, until = len(block.stretches), block.stretches[0].since, block.stretches[-1].until
    text = ngettext(
        "%(what)s from %(since)s to %(until)s (%(duration)s)",
        "%(what)s %(count)s times from %(since)s to %(until)s (%(duration)s in all)",
        count,
    )
    return text % {
        "what": _WORDS[block.value],
        "count": _number(count),
        "since": date_format(_local(since), form),
        "until": date_format(_local(until), form),
        "duration": duration(_seconds(block.stretches)),
    }


def _openings(states: Sequence[_Stretch], period: Any) -> str:
    openings = [stretch for stretch in states if stretch.value == State.OPEN]
    if not openings:
        return _("Never open in %(period)s.") % {"period": period}
    text = ngettext(
        "Open once in %(period)s, for %(duration)s.",
        "Open %(count)s times in %(period)s, %(duration)s in all.",
        len(openings),
    )
    return text % {
        "count": _number(len(openings)),
        "period": period,
        "duration": duration(_seconds(openings)),
    }


def _lasted(stretches: Sequence[_Stretch], band: _Band) -> dict[str, str]:
    """Return what is drawn in a band, the worst first, with the words for how long it lasted."""
    lasted = {
        value: [stretch for stretch in stretches if stretch.value == value]
        for value, height in reversed(band.heights.items())
        if height
    }
    return {
        value: _("%(what)s: %(duration)s")
        % {"what": _WORDS[value], "duration": duration(_seconds(some))}
        for value, some in lasted.items()
        if some
    }


def _seconds(stretches: Iterable[_Stretch]) -> float:
    return sum(stretch.until - stretch.since for stretch in stretches)


def _timeline_legend(lasted: dict[str, str], band: _Band) -> SafeString:
    return format_html_join(
        "",
        '<span><svg class="circuits-swatch" width="12" height="12" viewBox="0 0 24 24"'
        ' aria-hidden="true">'
        '<rect class="circuits-was-{}" y="{}" width="24" height="{}"/></svg> {}</span>',
        (
            (value, 24 - band.heights[value], band.heights[value], words)
            for value, words in lasted.items()
        ),
    )


# Countdown ---------------------------------------------------------------------------------------


def countdown_ring(remaining: float, total: float) -> SafeString:
    """Return a ring that empties as the time until the next trial call passes.

    As drawn it shows the time that remains; a script finds that and the whole in seconds in
    ``data-circuits-countdown`` and ``data-circuits-total``. What it changes as time passes is the
    first number of the ring's ``stroke-dasharray``, the share left in percent, and the text.

    Args:
        remaining: Seconds until a call is let through.
        total: Seconds that the wait has in all.
    """
    left = max(0.0, remaining)
    share = min(1.0, left / total) if total > 0 else 0.0
    return format_html(
        '<svg class="circuits-ring" role="img" aria-label="{}" width="56" height="56"'
        ' viewBox="0 0 56 56" fill="none" stroke-width="4" data-circuits-countdown="{}"'
        ' data-circuits-total="{}"><circle class="circuits-ring-base" cx="28" cy="28" r="25"/>'
        '<circle class="circuits-ring-left" cx="28" cy="28" r="25" pathLength="100"'
        ' stroke-dasharray="{} 100" transform="rotate(-90 28 28)"/>'
        '<text x="28" y="28" text-anchor="middle" dominant-baseline="central">{}</text></svg>',
        _wait_in_words(left),
        f"{left:.1f}",
        f"{max(0.0, total):.1f}",
        f"{100 * share:.4g}",
        _short(left),
    )


def _wait_in_words(seconds: float) -> str:
    if not seconds:
        return _("The next call is let through to try.")
    return _("The next call is let through to try in %s.") % duration(ceil(seconds))


def _short(seconds: float) -> str:
    """Return a time that fits into a ring."""
    for unit, text in ((1, _("%d s")), (60, _("%d min")), (3600, _("%d h"))):
        if ceil(seconds / unit) < 100:
            return text % ceil(seconds / unit)
    return _("%d d") % ceil(seconds / DAY)
