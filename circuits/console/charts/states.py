"""Draws a circuit's states over time as a band, by height as well as by colour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from math import ceil
from operator import attrgetter
from typing import Any, Final, NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...core.status import Mode, State
from ...models import MODES, STATES
from ...reports.timeline import Span
from ...reports.words import duration, grouped
from .axis import AXIS, LAST_DAY, axis, line, moment_form, moment_text

#: How many pieces a band tells apart: on a wide screen two pixels, of a day four minutes.
CELLS: Final = 360


class _Band(NamedTuple):
    """A part of a timeline: where its bars stand, and how high each is, the best thing first."""

    floor: int
    heights: dict[str, int]


_STATES: Final = _Band(24, {State.CLOSED: 6, State.HALF_OPEN: 15, State.OPEN: 24})
_MODES: Final = _Band(
    31, {Mode.AUTOMATIC: 0, Mode.OBSERVE: 2, Mode.FORCED_CLOSED: 5, Mode.FORCED_OPEN: 5}
)
_WORDS: Final[dict[str, Any]] = {**dict(STATES), **dict(MODES)}


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
    form = moment_form("H:i:s", until - start)
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
        line("circuits-base", _STATES.floor),
        axis(start, until, _MODES.floor),
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
        "count": grouped(count),
        "since": moment_text(since, form),
        "until": moment_text(until, form),
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
        "count": grouped(len(openings)),
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
