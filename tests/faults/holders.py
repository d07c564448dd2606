"""Processes that stop in the middle of something, for the test to kill them there."""

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
    """Hold the place of a trial."""
    entry.admit(name)
    say_and_wait("there")


def in_a_locked_change(name: str) -> None:
    """Hold the row's lock, with nothing written yet."""

    def decide(row: Snapshot) -> Step:
        say_and_wait("there")
        return Step(row.status)

    DatabaseStore().change(name, decide)


def between_the_row_and_its_history(name: str) -> None:
    """Hold the row's lock, with a change written and its transition not."""

    def save(*args: Any, **kwargs: Any) -> None:
        say_and_wait("there")

    Transition.save = save  # type: ignore[method-assign]
    circuits.get(name).force_open()


def in_a_flush(name: str) -> None:
    """Be about to write down three successes; somebody else holds the row."""
    for _ in range(3):
        results.succeed(entry.admit(name))
    say_and_wait("there")
    circuits.flush()
