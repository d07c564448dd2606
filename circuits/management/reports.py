"""Circuits and their histories as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from django.utils import timezone
from django.utils.translation import gettext as _

from ..machine import Mode, State
from ..models import MODES, STATES, Circuit, Transition
from ..readings import Reading
from .tables import Cell, Table, duration

# A sign beside the word, so that colour is never the only sign.
_STATES: Final = {
    State.CLOSED: ("✓", "green"),
    State.HALF_OPEN: ("◐", "yellow"),
    State.OPEN: ("✕", "red"),
}


def state_cell(state: str) -> Cell:
    """Return a state as a sign, a word and a colour."""
    sign, colour = _STATES[State(state)]
    return Cell(f"{sign} {dict(STATES)[state]}", colour)


def mode_cell(mode: str) -> Cell:
    """Return a mode as a word, strong where somebody has a hand in it."""
    return Cell(str(dict(MODES)[mode]), "" if mode == Mode.AUTOMATIC else "bold")


def _duration_cell(seconds: float) -> Cell:
    return Cell(duration(seconds))


#: How to show the values that are not shown as they are.
_CELLS: Final[dict[str, Callable[[Any], Cell]]] = {
    "state": state_cell,
    "mode": mode_cell,
    "time_in_state": _duration_cell,
    "retry_in": _duration_cell,
}


def list_table(readings: Sequence[Reading]) -> Table:
    """Return a row for each circuit."""
    titles = [
        _("Circuit"),
        _("State"),
        _("Mode"),
        _("Failures"),
        _("In state"),
        _("Retry in"),
        _("Last error"),
    ]
    return Table(titles, [_list_row(reading) for reading in readings])


def _list_row(reading: Reading) -> list[Cell]:
    circuit = reading.circuit
    return [
        Cell(circuit.name),
        state_cell(circuit.state),
        mode_cell(circuit.mode),
        Cell(f"{circuit.failure_count} / {circuit.threshold}"),
        _value_cell("time_in_state", reading.time_in_state),
        _value_cell("retry_in", reading.retry_in),
        Cell(circuit.last_error),
    ]


def fields_table(reading: Reading) -> Table:
    """Return a row for each thing there is to know of one circuit."""
    rows = [
        [Cell(_label(name)), _value_cell(name, value)] for name, value in reading.values().items()
    ]
    return Table([_("Field"), _("Value")], rows)


def _label(name: str) -> str:
    counted = {
        "time_in_state": _("time in state"),
        "retry_in": _("retry in"),
        "trials_under_way": _("trials under way"),
    }
    return counted.get(name) or str(getattr(Circuit._meta.get_field(name), "verbose_name", name))


def _value_cell(name: str, value: Any) -> Cell:
    if value is None:
        return Cell("")
    if isinstance(value, datetime):
        return Cell(_moment(value))
    return _CELLS[name](value) if name in _CELLS else Cell(str(value))


def history_table(transitions: Sequence[Transition]) -> Table:
    """Return a row for each transition."""
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
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return local.isoformat(" ", "seconds")
