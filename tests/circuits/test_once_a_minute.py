"""Log lines that are written once a minute instead of each time."""

from __future__ import annotations

from circuits import once_a_minute
from circuits.process import runtime


def test_a_line_is_due_at_once_and_then_once_a_minute() -> None:
    seconds = range(0, 130, 10)
    said = [second for second in seconds if once_a_minute.is_due("flush", 1_000.0 + second)]
    assert said == [0, 60, 120]


def test_each_trouble_has_its_own_minute() -> None:
    assert once_a_minute.is_due("flush")
    assert once_a_minute.is_due("expiry")
    assert not once_a_minute.is_due("flush")


def test_a_new_process_has_said_nothing() -> None:
    assert once_a_minute.is_due("flush")
    runtime.forget()
    assert once_a_minute.is_due("flush")
