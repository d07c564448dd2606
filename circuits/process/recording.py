"""Writes the calls that this process has recorded, one batch for each circuit at every flush."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic

from django.db import Error

from ..core.recording import Call
from ..storage import recordings
from . import tapes
from .gate import Gate


def write(gates: Iterable[Gate], alias: str) -> None:
    """Write the recorded calls of some circuits.

    Args:
        alias: The alias of the circuits' database.

    Raises:
        django.db.Error: The database does not answer. Nothing is lost; the next time tries again.
    """
    if not tapes.any_runs():
        return
    for gate in gates:
        tape = tapes.of(gate.name)
        if tape is not None:
            _write(gate, tape, alias)


def _write(gate: Gate, tape: tapes.Tape, alias: str) -> None:
    calls = tape.take()
    now = gate.view.shared_time(monotonic())
    if now is None:  # the circuit is in memory only, while the database is away
        tape.give_back(calls)
        return
    shift = now - monotonic()
    moved = [Call(call.ended_at + shift, call.seconds, call.ending) for call in calls]
    try:
        is_kept = not moved or recordings.add(alias, gate.name, moved)
    except Error:
        tape.give_back(calls)
        raise
    if not is_kept or monotonic() >= tape.until:
        tapes.drop(gate.name)
