"""Processes that stop in the middle of an operation, so that a test can kill them there."""

from __future__ import annotations

from typing import Any

import circuits
from circuits.core.status import Step
from circuits.models import Transition
from circuits.process import entry, results
from circuits.storage.contract import Snapshot
from circuits.storage.database import DatabaseStore
from tests.worker import say_and_wait


def in_a_trial(name: str) -> None:
    """Stop in a trial, whose place is taken."""
    entry.admit(name)
    say_and_wait("there")


def in_a_locked_change(name: str) -> None:
    """Stop while the row is locked and nothing is written yet."""

    def decide(row: Snapshot) -> Step:
        say_and_wait("there")
        return Step(row.status)

    DatabaseStore().change(name, decide)


def between_the_row_and_its_history(name: str) -> None:
    """Stop while the row is locked and changed, and its transition is not yet written."""

    def save(*args: Any, **kwargs: Any) -> None:
        say_and_wait("there")

    Transition.save = save  # type: ignore[method-assign]
    circuits.get(name).force_open()


def in_a_flush(name: str) -> None:
    """Stop in a flush of three successes, because the test has locked the row."""
    for _ in range(3):
        results.succeed(entry.admit(name))
    say_and_wait("there")
    circuits.flush()
