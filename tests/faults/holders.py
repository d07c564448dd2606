"""Processes that stop in the middle of something, for the test to kill them there."""

from __future__ import annotations

import resource
from itertools import count
from typing import Any

import circuits
from circuits import breaker
from circuits.machine import Step
from circuits.models import Transition
from circuits.store import DatabaseStore, Snapshot
from tests.concurrency import wait_until
from tests.worker import say_and_wait


def in_a_trial(name: str) -> None:
    """Hold the place of a trial."""
    breaker.admit(name)
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
        breaker.admit(name).succeed()
    say_and_wait("there")
    circuits.flush()


def on_a_full_disk(name: str) -> dict[str, int | bool]:
    """Make failing calls while no file may grow; return what came of them, and of what follows."""
    breaker.admit(name).succeed()
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Less than SQLite's log takes for a first page: as on a disk that has no room for it. Python
    # ignores the signal that comes with it.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, most))
    try:
        let_through = _fail_until_refused(name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
    wait_until(lambda: _came_back(name))
    return {"let_through": let_through, "closed": circuits.get(name).state == "closed"}


def _fail_until_refused(name: str) -> int:
    for let_through in count():
        try:
            breaker.admit(name).fail("it failed")
        except circuits.CircuitOpenError:
            return let_through
    raise AssertionError


def _came_back(name: str) -> bool:
    breaker.store.revive(name)
    return not breaker.store._down
