"""Tables of circuits and of their histories, for the commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..core.status import Mode, State
from ..models import MODES, STATES, Circuit, Transition
from ..reports.readings import Reading
from ..reports.statistics import Calls
from ..reports.verdict import NO_EVIDENCE, Evidence, verdict
from ..reports.words import (
    DAY,
    FORCED,
    INJECTED,
    OBSERVED,
    SIGNS,
    UNSTEADY,
    clock,
    grouped,
    local_time,
    number_words,
)
from .overview import Overview
from .tables import Cell, Strip, Table, duration

_COLOURS: Final[dict[str, str]] = {
    State.OPEN: "red",
    State.HALF_OPEN: "yellow",
    FORCED: "bold",
    UNSTEADY: "yellow",
    State.CLOSED: "green",
}

#: The colours of closed circuits that need attention all the same.
_SPECIAL: Final = {INJECTED: "red", UNSTEADY: _COLOURS[UNSTEADY]}

#: The bars of a chart of calls, and the sign for a slot without calls.
_BARS: Final = "▁▂▃▄▅▆▇█"
_NO_CALLS: Final = "·"


def standing_cell(reading: Reading, evidence: Evidence = NO_EVIDENCE) -> Cell:
    """Return a circuit's state, with the sign and colour of the verdict on the circuit."""
    kind, state = verdict(reading, evidence).kind, reading.circuit.state
    if kind == OBSERVED and state != State.CLOSED:
        return Cell(f"{SIGNS[OBSERVED]} {_('would be %(state)s') % {'state': dict(STATES)[state]}}")
    if kind in (INJECTED, UNSTEADY):
        return Cell(f"{SIGNS[kind]} {dict(STATES)[state]}", _SPECIAL[kind])
    return state_cell(state)


def state_cell(state: str) -> Cell:
    """Return a state with its sign, in its colour."""
    return Cell(f"{SIGNS[state]} {dict(STATES)[state]}", _COLOURS[state])


def mode_cell(mode: str) -> Cell:
    """Return a mode, in bold unless it is automatic."""
    return Cell(str(dict(MODES)[mode]), "" if mode == Mode.AUTOMATIC else "bold")


def _duration_cell(seconds: float) -> Cell:
    return Cell(duration(seconds))


#: How to show those values that need more than ``str``, by their names.
_CELLS: Final[dict[str, Callable[[Any], Cell]]] = {
    "state": state_cell,
    "mode": mode_cell,
    "time_in_state": _duration_cell,
    "retry_in": _duration_cell,
}


def list_table(readings: Sequence[Reading]) -> Table:
    """Return a table with a row for each circuit."""
    titles = [
        _("Circuit"),
        _("State"),
        _("Mode"),
        _("For"),
        _("Retry in"),
        _("Last error"),
    ]
    rows = [_list_row(reading) for reading in readings]
    return Table(titles, rows, is_dense=True, least=(18, 11, 13, 8, 5, 12))


def _list_row(reading: Reading) -> list[Cell]:
    circuit = reading.circuit
    return [
        Cell(circuit.name),
        standing_cell(reading),
        mode_cell(circuit.mode),
        _duration_cell(reading.down_for),
        _value_cell("retry_in", reading.retry_in),
        Cell(circuit.last_error),
    ]


def overview_table(overview: Overview) -> Table:
    """Return a table with a row for each circuit of an overview, and the totals above it."""
    titles = [
        _("Circuit"),
        _("State"),
        _("Mode"),
        _("For"),
        _("Retry in"),
        _("Last hour"),
        _("Last error"),
    ]
    return Table(
        titles,
        [
            _overview_row(reading, overview.evidence.get(reading.circuit.pk, NO_EVIDENCE))
            for reading in overview.readings
        ],
        above=[*_count_cells(overview.counted), _beat_cell(**overview.beat)],
        below=_left_out(overview),
        is_dense=True,
        least=(18, 11, 13, 8, 5, 6, 6),
    )


def _overview_row(reading: Reading, evidence: Evidence) -> list[Cell]:
    circuit = reading.circuit
    return [
        Cell(circuit.name),
        standing_cell(reading, evidence),
        _mode_and_end_cell(reading),
        _duration_cell(reading.down_for),
        Cell("" if reading.retry_in is None else _countdown(reading.retry_in) or _("now")),
        calls_cell(evidence.calls),
        Cell(circuit.last_error),
    ]


def _mode_and_end_cell(reading: Reading) -> Cell:
    cell = mode_cell(reading.circuit.mode)
    if reading.mode_ends_in is None:
        return cell
    left = _countdown(reading.mode_ends_in) or _("time is up")
    return Cell(f"{cell.text} ({left})", cell.style)


def _countdown(seconds: float) -> str:
    """Return the time left as a clock shows it, or an empty text if none is left."""
    if seconds <= 0:
        return ""
    return clock(seconds) if seconds < DAY else duration(seconds)


def calls_cell(slots: Sequence[Calls]) -> Cell:
    """Return a chart of calls, scaled to the busiest slot, and how many calls went wrong."""
    most = max(map(sum, slots), default=0)
    if not most:
        return Cell("")
    parts = [_bar(calls, most) for calls in slots]
    failures, refusals = (sum(numbers) for numbers in list(zip(*slots, strict=True))[1:])
    parts += _sum("✕", failures, "red")
    parts += _sum("⊘", refusals, "yellow")
    styles = [style for text, style in parts for _character in text]
    return Strip("".join(text for text, _style in parts), styles=styles)


def _bar(calls: Calls, most: int) -> tuple[str, str]:
    """Return a slot's bar, and the colour of the worst outcome in it."""
    number = sum(calls)
    if not number:
        return _NO_CALLS, "dim"
    colour = "red" if calls.failures else "yellow" if calls.refusals else "green"
    return _BARS[-(-number * len(_BARS) // most) - 1], colour


def _sum(sign: str, number: int, colour: str) -> Iterator[tuple[str, str]]:
    if number:
        yield f" {sign} {grouped(number)}", colour


def _count_cells(counted: dict[str, int]) -> Iterator[Cell]:
    for kind, colour in _COLOURS.items():
        number = counted[kind]
        if kind == UNSTEADY and not number:
            continue
        # A count of zero does not ask for attention.
        yield Cell(f"{SIGNS[kind]} {number_words(kind, number)}", colour if number else "dim")


def _beat_cell(status: str, seconds_ago: float | None) -> Cell:
    if seconds_ago is None:
        return Cell(_("beat never seen"), "yellow")
    words = _("beat last seen %s ago") % duration(seconds_ago)
    return Cell(words, "" if status == "ok" else "yellow")


def _left_out(overview: Overview) -> str:
    if not overview.readings:
        return _("No circuit fits.") if overview.counted["total"] else _("No circuits yet.")
    number = overview.left_out
    text = ngettext("and %s more", "and %s more", number) % grouped(number)
    return text if number else ""


def fields_table(reading: Reading) -> Table:
    """Return a table with a row for each field of a circuit."""
    rows = [
        [Cell(_label(name)), _value_cell(name, value)] for name, value in reading.values().items()
    ]
    return Table([_("Field"), _("Value")], rows)


def _label(name: str) -> str:
    counted = {
        "time_in_state": _("time in state"),
        "retry_in": _("retry in"),
        "refused": _("refused since it went down"),
        "trials_under_way": _("trials under way"),
        "recent_retries": _("recent retries"),
        "retries_allowed": _("retries allowed"),
    }
    return counted.get(name) or str(getattr(Circuit._meta.get_field(name), "verbose_name", name))


def _value_cell(name: str, value: Any) -> Cell:
    if value is None:
        return Cell("")
    if isinstance(value, datetime):
        return Cell(_moment(value))
    return _CELLS[name](value) if name in _CELLS else Cell(str(value))


def history_table(transitions: Sequence[Transition]) -> Table:
    """Return a table with a row for each transition."""
    titles = [_("At"), _("From"), _("To"), _("Mode"), _("Reason"), _("Actor"), _("Detail")]
    return Table(titles, [_history_row(transition) for transition in transitions])


def _history_row(transition: Transition) -> list[Cell]:
    return [
        Cell(_moment(transition.at)),
        state_cell(transition.from_state),
        state_cell(transition.to_state),
        mode_cell(transition.to_mode),
        Cell(transition.get_reason_display()),
        Cell(transition.actor),
        Cell(transition.detail),
    ]


def _moment(moment: datetime) -> str:
    return local_time(moment).isoformat(" ", "seconds")
