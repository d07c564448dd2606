"""Circuits in the memory of one process: where they begin, and what they keep."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pytest_django import Settings

from circuits import conf
from circuits.core.machine import MEMORY_GENERATION
from circuits.core.policy import Policy
from circuits.core.status import NOBODY, Failure, Permit, State, Status, Step
from circuits.exceptions import InvalidInputError, TooManyCircuitsError
from circuits.storage.contract import NO_NOTE, Note, Snapshot, Tally
from circuits.storage.database import new_circuit
from circuits.storage.memory import MemoryStore


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def known() -> dict[str, Snapshot]:
    """Return what the process has seen of circuits in the database; nothing to begin with."""
    return {}


@pytest.fixture
def store(known: dict[str, Snapshot], clock: Clock) -> MemoryStore:
    return MemoryStore(recall=known.get, clock=clock)


def seen(**status: Any) -> Snapshot:
    """Return a snapshot of the database, whose clock is 1000 seconds ahead of the process's."""
    return Snapshot(
        name="payments",
        status=Status(**status),
        policy=Policy(threshold=3),
        timeout=2.5,
        failure_statuses=None,
        now=1040.0,
        read_at=40.0,
        known_at=40.0,
        key=7,
    )


def count(row: Snapshot) -> Step:
    return Step(replace(row.status, failure_count=row.status.failure_count + 1))


def test_a_circuit_never_seen_begins_as_the_settings_say(
    store: MemoryStore, settings: Settings
) -> None:
    settings.CIRCUITS = {
        **settings.CIRCUITS,
        "CIRCUITS": {"payments": {"threshold": 2, "failure_statuses": "429", "timeout": 4}},
    }
    begun = store.read("payments")
    assert (begun.name, begun.policy.threshold, begun.timeout) == ("payments", 2, 4)
    assert begun.failure_statuses == frozenset({429})
    assert begun.status == Status(generation=MEMORY_GENERATION)
    assert (begun.now, begun.read_at, begun.known_at) == (50, 50, 50)
    assert not begun.is_shared


def test_one_that_was_seen_goes_on_by_the_clock_of_the_process(
    store: MemoryStore, known: dict[str, Snapshot], clock: Clock
) -> None:
    known["payments"] = seen(
        state=State.OPEN, generation=4, opened_at=1030.0, down_since=1030.0, retry_at=1060.0
    )
    begun = store.read("payments")
    assert (begun.policy.threshold, begun.timeout, begun.key) == (3, 2.5, 7)
    assert (begun.status.state, begun.status.retry_at) == (State.OPEN, 60)
    assert not begun.is_shared
    clock.now = 55.0
    later = store.read("payments")
    assert (later.now, later.read_at, later.known_at) == (55, 55, 55)
    assert later.status == begun.status


def test_only_what_is_there_is_found(store: MemoryStore, known: dict[str, Snapshot]) -> None:
    assert store.find("payments") is None
    store.read("payments")
    assert store.find("payments") is not None
    store.forget()
    assert store.find("payments") is None
    known["payments"] = seen()
    assert store.find("payments") is not None
    store.put("mail", Status(state=State.OPEN))
    found = store.find("mail")
    assert found is not None
    assert found.status.state is State.OPEN


@pytest.mark.parametrize("way", ["change", "steer"])
def test_a_change_is_kept(store: MemoryStore, way: str) -> None:
    changed = getattr(store, way)("payments", count, Note(error="it is down"))
    assert (changed.before.status.failure_count, changed.step.status.failure_count) == (0, 1)
    assert changed.error == "it is down"
    assert changed.happened
    kept = store.read("payments")
    assert (kept.status.failure_count, kept.last_error) == (1, "it is down")
    assert store.change("payments", count, NO_NOTE).after.last_error == "it is down"


def test_everything_is_left_to_a_change(store: MemoryStore) -> None:
    snapshot, permit = store.read("payments"), Permit(MEMORY_GENERATION)
    assert store.count_failure(snapshot, permit, Failure(), "it is down") is False
    assert store.clear_failures(snapshot, permit, NOBODY) is False
    tally = Tally(name="", at=None, successes=1, failures=0, refused={}, last_success_at=None)
    assert store.flush([tally, tally]) == [None, None]


def test_a_test_may_put_a_circuit_into_a_state(store: MemoryStore) -> None:
    store.read("payments")
    assert store.given("payments") is None
    store.put("payments", Status(state=State.OPEN, generation=3, retry_at=60.0))
    given = Status(state=State.OPEN, generation=MEMORY_GENERATION, retry_at=60.0)
    assert store.given("payments") == store.read("payments").status == given
    store.change("payments", count)
    store.forget()
    assert store.read("payments").status == given, "it begins there in each test"
    store.put("payments", None)
    assert store.given("payments") is None
    assert store.read("payments").status == Status(generation=MEMORY_GENERATION)


def test_a_bad_name_and_one_circuit_too_many_are_refused(
    store: MemoryStore, settings: Settings
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "MAX_CIRCUITS": 2}
    with pytest.raises(InvalidInputError):
        store.read("pay\nments")
    store.read("one")
    store.read("two")
    with pytest.raises(TooManyCircuitsError, match="three"):
        store.read("three")
    store.read("two")


def test_a_circuit_of_which_the_settings_say_nothing_has_the_usual_timeout() -> None:
    assert new_circuit("payments", 5.0).timeout == conf.DEFAULT_TIMEOUT
    assert MemoryStore().read("payments").timeout == conf.DEFAULT_TIMEOUT
