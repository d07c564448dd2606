"""Draws a circuit's states over time as a band, by height as well as by colour."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, groupby
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
from .axis import AXIS, LAST_DAY, anchor, axis, line, moment_form, moment_text

#: The number of cells that a band is divided into: two pixels each on a wide screen, and four
#: minutes each of a day.
CELLS: Final = 360

#: A period of at least this many cells has a block of its own, however short its neighbours are.
LONG: Final = 2

#: The height of the line above a band with the numbers of openings, in pixels.
HEAD: Final = 14

#: The least distance between two such numbers, in percent of the width.
APART: Final = 10

#: The description for screen readers names this many combs at most.
MOST_LISTED: Final = 3


class _Band(NamedTuple):
    """A part of a timeline.

    Args:
        floor: The foot of its bars, in pixels from the top of the chart.
        heights: The height of the bar of each value, the best value first.
        ends: The values that end a period; the next value begins another one.
    """

    floor: int
    heights: dict[str, int]
    ends: Collection[str]


# An outage goes on through its failed trials: only closing ends it.
_STATES: Final = _Band(24, {State.CLOSED: 6, State.HALF_OPEN: 15, State.OPEN: 24}, {State.CLOSED})
_MODES: Final = _Band(
    31, {Mode.AUTOMATIC: 0, Mode.OBSERVE: 2, Mode.FORCED_CLOSED: 5, Mode.FORCED_OPEN: 5}, set(Mode)
)
_WORDS: Final[dict[str, Any]] = {**dict(STATES), **dict(MODES)}


class _Stretch(NamedTuple):
    """A time without a change of the state, or of the mode.

    Args:
        value: The state or the mode.
        period: The number of the period that it is a part of, such as an outage with its trials.
    """

    value: str
    since: float
    until: float
    period: int


class _Block(NamedTuple):
    """Neighbouring cells that are drawn as one, and the stretches they stand for."""

    first: int
    width: int
    stretches: Sequence[_Stretch]

    @property
    def value(self) -> str:
        return self.stretches[0].value

    @property
    def times(self) -> int:
        """The number of periods that it stands for."""
        return len(_periods(self.stretches))

    @property
    def is_flapping(self) -> bool:
        """Whether it stands for several outages that are too short to be drawn one by one."""
        return self.value == State.OPEN and self.times > 1


def timeline_chart(
    spans: Sequence[Span], start: float, until: float, period: Any = LAST_DAY
) -> SafeString:
    """Return a band of a circuit's states and modes, aligned with the charts of its calls.

    A state that is too short to be seen is drawn one cell wide; where several states share a cell,
    the worst is drawn. Outages that are too short to be drawn one by one are drawn as a comb, with
    their number above it.

    Args:
        spans: The states and modes, without gaps, the oldest first.
        start: The beginning of the band, in seconds since 1970.
        until: The end of the band; the spans may end before.
        period: The name of the whole time in a sentence.
    """
    states = _stretches(spans, "state", _STATES)
    modes = _stretches(spans, "mode", _MODES)
    of_states = list(_blocks(states, _STATES, start, until))
    of_modes = list(_blocks(modes, _MODES, start, until))
    flapping = [block for block in of_states if block.is_flapping]
    lasted = _lasted(modes, _MODES)
    form = moment_form("H:i:s", until - start)
    top = HEAD if flapping else 0
    return format_html(
        '<figure class="circuits-chart"><svg role="img" aria-label="{}" width="100%" height="{}">'
        '{}<svg y="{}" width="100%" height="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">'
        "{}{}</svg>{}{}</svg><figcaption>{}{}{}</figcaption></figure>",
        " ".join(
            [
                _openings(states, period),
                *_flapping_in_words(flapping, moment_form("H:i", until - start)),
                *(f"{words}." for words in lasted.values()),
            ]
        ),
        top + _MODES.floor + AXIS,
        _numbers(flapping),
        top,
        _MODES.floor,
        CELLS,
        _MODES.floor,
        _shapes(of_states, _STATES, form),
        _shapes(of_modes, _MODES, form),
        line("circuits-base", top + _STATES.floor),
        axis(start, until, top + _MODES.floor),
        _legend(_lasted(states, _STATES), _STATES),
        _flapping_legend(flapping),
        _legend(lasted, _MODES),
    )


# What is drawn -----------------------------------------------------------------------------------


def _stretches(spans: Sequence[Span], part: str, band: _Band) -> list[_Stretch]:
    """Return the stretches of the states, or of the modes."""
    found: list[_Stretch] = []
    period = 0
    for value, same in groupby(spans, attrgetter(part)):
        alike = list(same)
        found.append(_Stretch(value, alike[0].since, alike[-1].until, period))
        period += value in band.ends
    return found


def _blocks(
    stretches: Sequence[_Stretch], band: _Band, start: float, until: float
) -> Iterator[_Block]:
    """Yield a block for equal cells next to each other; a long period has a block of its own."""
    long = _long_periods(stretches, LONG * (until - start) / CELLS)
    held_by_cell = _cells(stretches, start, until)
    cells = _bridged([_drawn(held, band, long) for held in held_by_cell], long)
    for _value, same in groupby(range(CELLS), lambda cell: _likeness(cells[cell], long)):
        block = list(same)
        held = list(dict.fromkeys(chain.from_iterable(cells[cell] for cell in block)))
        if held and band.heights[held[0].value]:
            yield _Block(block[0], len(block), held)


def _long_periods(stretches: Sequence[_Stretch], seconds: float) -> set[tuple[str, int]]:
    """Return the periods, by their value and number, that last for at least so many seconds."""
    ends: dict[tuple[str, int], tuple[float, float]] = {}
    for value, since, until, period in stretches:
        ends[value, period] = ends.get((value, period), (since, 0.0))[0], until
    return {key for key, (since, until) in ends.items() if until - since >= seconds}


def _cells(stretches: Sequence[_Stretch], start: float, until: float) -> list[list[_Stretch]]:
    """Return the stretches that touch each cell; each stretch touches one at least."""
    cells: list[list[_Stretch]] = [[] for _cell in range(CELLS)]
    scale = CELLS / (until - start)
    for stretch in stretches:
        first = max(0, min(CELLS - 1, int((stretch.since - start) * scale)))
        last = min(CELLS, ceil((stretch.until - start) * scale))
        for cell in range(first, max(first + 1, last)):
            cells[cell].append(stretch)
    return cells


def _drawn(
    held: Sequence[_Stretch], band: _Band, long: Collection[tuple[str, int]]
) -> list[_Stretch]:
    """Return those of a cell's stretches that are drawn: the worst, and of these the short ones."""
    worst = max((each.value for each in held), key=list(band.heights).index, default="")
    of_worst = [each for each in held if each.value == worst]
    return [each for each in of_worst if (worst, each.period) not in long] or of_worst


def _bridged(
    cells: Sequence[list[_Stretch]], long: Collection[tuple[str, int]]
) -> list[list[_Stretch]]:
    """Draw a cell between two short outages with them, so that steady flapping is one comb."""
    likenesses = [_likeness(drawn, long) for drawn in cells]
    bridged = list(cells)
    for cell in range(1, len(cells) - 1):
        before, (value, _period), after = likenesses[cell - 1 : cell + 2]
        is_between = before == after == (State.OPEN, None)
        if is_between and value in {State.CLOSED, State.HALF_OPEN}:
            bridged[cell] = cells[cell - 1]
    return bridged


def _likeness(
    drawn: Sequence[_Stretch], long: Collection[tuple[str, int]]
) -> tuple[str, int | None]:
    """Return what the cells of a block have in common: the value, and the period if it is long."""
    if not drawn:
        return "", None
    value, periods = drawn[0].value, _periods(drawn)
    alone = periods.pop() if len(periods) == 1 else None
    return value, alone if (value, alone) in long else None


def _periods(stretches: Iterable[_Stretch]) -> set[int]:
    return {each.period for each in stretches}


# How it is drawn ---------------------------------------------------------------------------------


def _shapes(blocks: Iterable[_Block], band: _Band, form: str) -> SafeString:
    shapes = ((_comb if block.is_flapping else _rect)(block, band, form) for block in blocks)
    return format_html_join("", "{}", ((shape,) for shape in shapes))


def _rect(block: _Block, band: _Band, form: str) -> SafeString:
    return format_html(
        '<rect class="circuits-was-{}" x="{}" y="{}" width="{}" height="{}">'
        "<title>{}</title></rect>",
        block.value,
        block.first,
        band.floor - band.heights[block.value],
        block.width,
        band.heights[block.value],
        _block_in_words(block, form),
    )


def _comb(block: _Block, band: _Band, form: str) -> SafeString:
    """Return the teeth of the openings on the bar of the times between them.

    The teeth are the dashes of one stroke as high as the band. Between them is nothing to point
    at, so an unseen shape over all of it has the title.
    """
    height = band.heights[block.value]
    between = band.heights[State.CLOSED]
    return format_html(
        '<path class="circuits-between" d="M{0} {2}h{1}" stroke-width="{3}"/>'
        '<path class="circuits-teeth" d="M{0} {4}h{1}" stroke-width="{5}"/>'
        '<rect class="circuits-was-flapping" x="{0}" y="{6}" width="{1}" height="{5}">'
        "<title>{7}</title></rect>",
        block.first,
        block.width,
        band.floor - between / 2,
        between,
        band.floor - height / 2,
        height,
        band.floor - height,
        _block_in_words(block, form),
    )


def _numbers(flapping: Sequence[_Block]) -> SafeString:
    """Return the number of openings above each comb; where room is short, the greatest numbers."""
    places: dict[float, int] = {}
    for block in sorted(flapping, key=attrgetter("times"), reverse=True):
        place = 100 * (block.first + block.width / 2) / CELLS
        if all(abs(place - other) >= APART for other in places):
            places[place] = block.times
    return format_html_join(
        "",
        '<text class="circuits-times" x="{}%" y="{}" text-anchor="{}">{}&#215;</text>',
        ((f"{at:.4g}", HEAD - 4, anchor(at), grouped(times)) for at, times in places.items()),
    )


# In words ----------------------------------------------------------------------------------------


def _block_in_words(block: _Block, form: str) -> str:
    values = {
        "what": _WORDS[block.value],
        "count": grouped(block.times),
        "since": moment_text(block.stretches[0].since, form),
        "until": moment_text(block.stretches[-1].until, form),
        "duration": duration(_seconds(block.stretches)),
    }
    if block.is_flapping:
        text = _("opened %(count)s times from %(since)s to %(until)s (open for %(duration)s)")
        return text % values
    text = ngettext(
        "%(what)s from %(since)s to %(until)s (%(duration)s)",
        "%(what)s %(count)s times from %(since)s to %(until)s (%(duration)s in all)",
        block.times,
    )
    return text % values


def _openings(states: Sequence[_Stretch], period: Any) -> str:
    openings = [stretch for stretch in states if stretch.value == State.OPEN]
    if not openings:
        return _("Never open in %(period)s.") % {"period": period}
    times = len(_periods(openings))
    text = ngettext(
        "Open once in %(period)s, for %(duration)s.",
        "Open %(count)s times in %(period)s, %(duration)s in all.",
        times,
    )
    return text % {
        "count": grouped(times),
        "period": period,
        "duration": duration(_seconds(openings)),
    }


def _flapping_in_words(flapping: Sequence[_Block], form: str) -> Iterator[str]:
    """Yield a sentence for each of the combs with the most openings, the oldest first."""
    most = sorted(flapping, key=attrgetter("times"), reverse=True)[:MOST_LISTED]
    for block in sorted(most):
        yield _("Flapping: opened %(count)s times from %(since)s to %(until)s.") % {
            "count": grouped(block.times),
            "since": moment_text(block.stretches[0].since, form),
            "until": moment_text(block.stretches[-1].until, form),
        }


def _lasted(stretches: Sequence[_Stretch], band: _Band) -> dict[str, str]:
    """Return how long each value of a band lasted, in words, the worst value first."""
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


def _legend(lasted: dict[str, str], band: _Band) -> SafeString:
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


def _flapping_legend(flapping: Sequence[_Block]) -> SafeString:
    if not flapping:
        return SafeString("")
    times = len(_periods(chain.from_iterable(block.stretches for block in flapping)))
    return format_html(
        '<span><svg class="circuits-swatch" width="15" height="12" aria-hidden="true">'
        '<path class="circuits-between" d="M0 10.5h15" stroke-width="3"/>'
        '<path class="circuits-teeth" d="M0 6h15" stroke-width="12"/></svg> {}</span>',
        _("flapping: opened %(count)s times") % {"count": grouped(times)},
    )
