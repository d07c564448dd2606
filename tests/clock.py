"""Clocks that only the test moves: the monotonic clock of a process, and that of the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.signals import setting_changed
from django.db import connections

from circuits import fields
from circuits.process import runtime
from circuits.storage.database import DatabaseStore

#: The modules that read the monotonic clock.
MODULES = (
    "process.asking",
    "process.entry",
    "calls.guard",
    "process.flushing",
    "process.gate",
    "process.nesting",
    "process.pulse",
    "process.recording",
    "process.renewal",
    "process.results",
    "process.tapes",
    "process.tending",
    "process.waiting",
    "storage.database",
)


class Clock:
    """A clock that stands still until a test moves it."""

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
    for module in MODULES:
        monkeypatch.setattr(f"circuits.{module}.monotonic", clock)
    for store in (runtime.store, runtime.store.memory):
        monkeypatch.setattr(store, "_clock", clock)
    return clock


class DatabaseClock:
    """The clock of the circuits' database, which a test can set.

    It runs on by itself. Each statement adds an offset to it, which it reads from a table.
    """

    def jump(self, seconds: float) -> None:
        """Set the database's clock forward, or back if ``seconds`` is negative."""
        with connections["circuits"].cursor() as cursor:
            cursor.execute(f"UPDATE {_TABLE} SET shift = shift + %s", [round(seconds * 1_000_000)])

    def set(self, now: float) -> None:
        """Set the database's clock, in seconds since 1970."""
        self.jump(now - DatabaseStore().now())


_TABLE = "circuits_test_clock"


@contextmanager
def database_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseClock]:
    """Let the database's clock be moved, for this process's statements."""
    connection = connections["circuits"]
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {_TABLE} (shift BIGINT NOT NULL)")
        cursor.execute(f"INSERT INTO {_TABLE} VALUES (0)")
    shifted = f"({fields.NOW_SQL[connection.vendor]} + (SELECT shift FROM {_TABLE}))"
    try:
        with monkeypatch.context() as patch:
            patch.setitem(fields.NOW_SQL, connection.vendor, shifted)
            _compile_anew()
            yield DatabaseClock()
    finally:
        _compile_anew()
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {_TABLE}")


def _compile_anew() -> None:
    setting_changed.send(sender=DatabaseClock, setting="NOW_SQL", value=None, enter=True)
