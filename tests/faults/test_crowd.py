"""Many processes and threads call through many circuits, while people steer these."""

from __future__ import annotations

import os
import time
from random import Random
from threading import Thread
from typing import Any, Final

import pytest
from django.db import connection, connections
from pytest_django import Settings

import circuits
from circuits.models import Circuit, Transition
from tests.concurrency import PATIENCE, let_go, result_of, start_worker
from tests.factories import CircuitFactory
from tests.faults import soak
from tests.faults.history import History, Move, Passed, Refused, Trial, problems

pytestmark = pytest.mark.usefixtures("committed")

CIRCUITS: Final = 20
SNAPSHOT_SECONDS: Final = 0.2

#: Seconds that a busy machine may add between a decision and its commit, or a thread's turn.
MARGIN: Final = 5.0

#: The processes and the threads of each in a long run. PostgreSQL allows 100 connections by
#: default, and SQLite one writer, for which the others wait only for a limited time.
FULL_SIZE: Final = {"sqlite": (8, 4), "postgresql": (16, 4), "mysql": (16, 8)}

OPERATIONS: Final = ("try_now", "reset", "force_open", "force_closed", "observe", "automatic")


def test_what_a_crowd_sees_is_a_history_of_the_state_machine(settings: Settings) -> None:
    """Promise: whatever happens at once, each circuit moves by the rules, one step at a time.

    Its generations have no gap and no repeat, each refusal and each passed call belongs to a
    generation that allows it, and there are never more trials at once than the policy allows.
    """
    seconds = soak.seconds(3)
    processes, threads = FULL_SIZE[connection.vendor] if seconds > 30 else (4, 4)
    # More busy processes would keep the database from its turn, and so make it seem silent.
    processes = min(processes, max(4, 2 * (os.cpu_count() or 1)))
    settings.CIRCUITS = {
        **settings.CIRCUITS,
        "SNAPSHOT_SECONDS": SNAPSHOT_SECONDS,
        "ON_STORE_ERROR": "raise",  # nothing may be hidden by a process that goes on by itself
    }
    names = [f"circuit {number:02}" for number in range(CIRCUITS)]
    for number, name in enumerate(names):
        CircuitFactory(
            name=name,
            delay=0.2 + number % 3 / 10,
            half_open_max_calls=1 + number % 3,
            success_threshold=1 + number % 2,
        )
    workers = [
        start_worker("call_for", names=names, threads=threads, seconds=seconds)
        for _ in range(processes)
    ]
    try:
        let_go(*workers)
        _steered_for(names, seconds)
        seen = [result_of(worker, seconds + PATIENCE) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()

    rows = Circuit.objects.all()
    histories = {row.name: _history(row, seen) for row in rows}
    assert {name: found for name, each in histories.items() if (found := problems(each))} == {}
    for row in rows:
        assert row.generation == len(histories[row.name].moves)
    _assert_enough_happened(histories)


def _steered_for(names: list[str], seconds: float) -> None:
    """Steer circuits for some seconds, in a thread that closes its connections at its end."""

    def steer() -> None:
        chance = Random()
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                operation = chance.choice(OPERATIONS)
                getattr(circuits.get(chance.choice(names)), operation)(actor="somebody")
                # Most are set back at once; otherwise all circuits would soon be forced.
                if chance.random() < 0.7:
                    circuits.get(chance.choice(names)).automatic()
                time.sleep(0.02)
        finally:
            connections.close_all()

    thread = Thread(target=steer)
    thread.start()
    thread.join(seconds + PATIENCE)
    assert not thread.is_alive()


def _history(row: Circuit, seen: list[dict[str, Any]]) -> History:
    def of(kind: str) -> list[list[Any]]:
        return [rest for each in seen for name, *rest in each[kind] if name == row.name]

    return History(
        moves=[_move(each) for each in row.transitions.order_by("generation", "pk")],
        passed=[Passed(*each) for each in of("passed")],
        refused=[Refused(*each) for each in of("refused")],
        trials=[Trial(*each) for each in of("trials")],
        delay=row.delay,
        most_trials=row.half_open_max_calls,
        late_seconds=2 * SNAPSHOT_SECONDS + MARGIN,
    )


def _move(transition: Transition) -> Move:
    return Move(
        transition.generation,
        transition.from_state,
        transition.to_state,
        transition.from_mode,
        transition.to_mode,
        transition.reason,
        transition.at.timestamp(),
    )


def _assert_enough_happened(histories: dict[str, History]) -> None:
    """Check that the crowd did enough, since one that does nothing breaks no rule."""
    reasons = {move.reason for each in histories.values() for move in each.moves}
    # Other transitions are possible but not certain: on a busy machine there are few trials, and a
    # circuit is not always open when somebody resets it or lets it try.
    needed = {"failures", "delay_passed", "trial_succeeded", "mode"}
    possible = {"trial_failed", "reset", "refuted", "try_now"}
    assert needed <= reasons <= needed | possible
    assert sum(len(each.trials) for each in histories.values()) > CIRCUITS
    assert sum(len(each.refused) for each in histories.values()) > CIRCUITS
    assert sum(len(each.passed) for each in histories.values()) > CIRCUITS
