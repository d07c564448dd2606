"""Calls of another process, as far as the store can tell."""

from __future__ import annotations

from circuits.process import asking, flushing, results
from circuits.process.gate import Gate
from circuits.storage.database import DatabaseStore


def fail_elsewhere(name: str, times: int) -> None:
    """Make calls that fail."""
    gate = Gate(name, DatabaseStore())
    for _ in range(times):
        results.fail(asking.admit(gate), "the remote is down")


def succeed_elsewhere(name: str) -> None:
    """Make a call that succeeds, and write the process's tallies."""
    gate = Gate(name, DatabaseStore())
    results.succeed(asking.admit(gate))
    flushing.flush([gate], gate.store)
