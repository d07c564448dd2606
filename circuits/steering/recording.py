"""Starts and ends the recording of a circuit's calls."""

from __future__ import annotations

from typing import Final

from ..core.policy import Limits, check_number
from ..exceptions import UnknownCircuitError
from ..models import Circuit
from ..process.runtime import gates, store
from ..storage import recordings
from ..storage.nearness import near_misses

DAY: Final = 86_400

#: How long a recording may last, in seconds.
RECORDING_SECONDS: Final = Limits(1, 7 * DAY)


def record(name: str, seconds: float = DAY) -> None:
    """Record a circuit's calls for ``seconds``; this deletes its earlier recording.

    Raises:
        InvalidInputError: The circuit is unknown, or the time is out of range.
    """
    check_number("seconds", seconds, RECORDING_SECONDS, whole=False)
    recordings.begin(store.shared.alias, _circuit(name), seconds)
    _read_again(name)


def stop(name: str) -> bool:
    """Stop the recording of a circuit, and keep it; return whether one was under way.

    Raises:
        InvalidInputError: The circuit is unknown.
    """
    was_under_way = recordings.end(store.shared.alias, _circuit(name))
    _read_again(name)
    return was_under_way


def _circuit(name: str) -> Circuit:
    found = Circuit.objects.filter(name=name).first()
    if found is None:
        raise UnknownCircuitError(name, near_misses(name))
    return found


def _read_again(name: str) -> None:
    """Have this process read the circuit at its next call. Other processes notice it in time."""
    known = gates.get(name)
    if known is not None:
        known.expire()
