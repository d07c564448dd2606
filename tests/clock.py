"""A monotonic clock that only the test moves."""

from __future__ import annotations

import pytest

from circuits import breaker


class Clock:
    """Stands still until told that time has passed."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        """Let time pass for the process, though not for the database."""
        self.now += seconds


def install(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the circuits of this process a clock that stands still."""
    clock = Clock()
    for module in ("breaker", "gate", "store"):
        monkeypatch.setattr(f"circuits.{module}.monotonic", clock)
    for store in (breaker.store, breaker.store.memory):
        monkeypatch.setattr(store, "_clock", clock)
    return clock
