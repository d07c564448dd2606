"""The history is kept as long as the settings say, and deleting it does not hold up writers."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from circuits.models import Circuit, Transition
from circuits.storage.database import DatabaseStore
from circuits.tasks import PRUNE_EXPIRES, prune
from circuits.upkeep import retention
from tests.calls import fail
from tests.concurrency import in_threads
from tests.factories import CircuitFactory, TransitionFactory

pytestmark = pytest.mark.usefixtures("committed", "_no_pause")

DAYS = 90


@pytest.fixture
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "sleep", lambda seconds: None)


@pytest.fixture
def circuit() -> Circuit:
    """Make a circuit whose last change is not one of those in the test."""
    return CircuitFactory.create(generation=1_000_000)


def keep(settings: Settings, **values: Any) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, **values}


def change(circuit: Circuit, days_ago: float = 0, **values: Any) -> Transition:
    moment = timezone.now() - timedelta(days=days_ago)
    return TransitionFactory.create(circuit=circuit, at=moment, **values)


def changes(circuit: Circuit, number: int, days_ago: float = 0) -> list[Transition]:
    return [change(circuit, days_ago) for _ in range(number)]


def kept() -> list[Transition]:
    return list(Transition.objects.order_by("pk"))


# What goes and what stays ------------------------------------------------------------------------


def test_what_is_older_than_the_days_goes(circuit: Circuit) -> None:
    changes(circuit, 3, days_ago=DAYS + 0.01)
    young = changes(circuit, 2, days_ago=DAYS - 0.01)
    assert prune() == 3
    assert kept() == young
    assert prune() == 0


def test_the_days_can_be_set(circuit: Circuit, settings: Settings) -> None:
    change(circuit, days_ago=3)
    young = change(circuit, days_ago=1)
    keep(settings, HISTORY_DAYS=2)
    assert prune() == 1
    assert kept() == [young]


def test_of_more_rows_than_may_be_the_newest_stay(circuit: Circuit, settings: Settings) -> None:
    rows = changes(circuit, 5)
    keep(settings, HISTORY_ROWS=5)
    assert prune() == 0
    keep(settings, HISTORY_ROWS=3)
    assert prune() == 2
    assert kept() == rows[2:]


def test_both_limits_hold_at_once(circuit: Circuit, settings: Settings) -> None:
    changes(circuit, 2, days_ago=DAYS + 1)
    rows = changes(circuit, 4)
    keep(settings, HISTORY_ROWS=3)
    assert prune() == 3
    assert kept() == rows[1:]


def test_the_last_change_of_each_circuit_stays(settings: Settings) -> None:
    last = []
    for circuit in CircuitFactory.create_batch(3):
        changes(circuit, 2, days_ago=2 * DAYS)
        last.append(change(circuit, days_ago=DAYS + 1))
        Circuit.objects.filter(pk=circuit.pk).update(generation=last[-1].generation)
    keep(settings, HISTORY_ROWS=1)
    assert prune() == 6
    assert kept() == last


def test_the_last_change_is_the_one_that_the_store_wrote_last() -> None:
    fail("payments", times=5)
    row = Circuit.objects.get()
    assert Transition.objects.get().generation == row.generation
    Transition.objects.update(at=timezone.now() - timedelta(days=2 * DAYS))
    assert prune() == 0
    assert Transition.objects.count() == 1


def test_what_people_have_yet_to_be_told_of_stays(circuit: Circuit, settings: Settings) -> None:
    waiting = change(circuit, days_ago=2 * DAYS, pending=True)
    change(circuit, days_ago=2 * DAYS)
    assert prune() == 1
    assert kept() == [waiting]
    keep(settings, HISTORY_ROWS=1)
    newest = change(circuit)
    assert prune() == 0
    Transition.objects.update(pending=False)
    assert prune() == 1
    assert kept() == [newest]


def test_a_clock_that_was_wrong_for_a_while_takes_nothing_else_along(circuit: Circuit) -> None:
    before = changes(circuit, 2, days_ago=10)
    change(circuit, days_ago=DAYS + 5)
    after = changes(circuit, 2, days_ago=9)
    assert prune() == 1
    assert kept() == before + after


def test_there_need_be_no_history() -> None:
    assert prune() == 0


# How it goes -------------------------------------------------------------------------------------


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> int:
    """Set how many rows are deleted at once, and return the number."""
    monkeypatch.setattr(retention, "BATCH", 4)
    return 4


def test_rows_go_in_batches_the_oldest_first(
    circuit: Circuit, batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = changes(circuit, 10, days_ago=DAYS + 1)
    left: list[list[Transition]] = []
    monkeypatch.setattr(retention, "sleep", lambda seconds: left.append(kept()))
    assert prune() == 10
    assert left == [rows[4:], rows[8:], []]


def test_a_batch_that_leaves_rows_where_they_are_does_not_end_the_pass(batches: int) -> None:
    for circuit in CircuitFactory.create_batch(batches + 1):
        last = change(circuit, days_ago=DAYS + 1)
        Circuit.objects.filter(pk=circuit.pk).update(generation=last.generation)
    changes(CircuitFactory.create(generation=1_000_000), batches + 1, days_ago=DAYS + 1)
    assert prune() == batches + 1


def test_others_may_write_for_as_long_as_a_batch_has_kept_them_waiting(
    circuit: Circuit, batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes(circuit, batches, days_ago=DAYS + 1)
    pauses: list[float] = []
    ticks = count(step=7)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        in_threads(1, lambda _: Circuit.objects.update(last_error="written meanwhile"))

    monkeypatch.setattr(retention, "monotonic", lambda: next(ticks))
    monkeypatch.setattr(retention, "sleep", pause)
    assert prune() == batches
    assert pauses == [7]
    circuit.refresh_from_db()
    assert circuit.last_error == "written meanwhile"


def test_a_pass_ends_in_time_and_the_next_one_goes_on(
    circuit: Circuit, batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes(circuit, 3 * batches, days_ago=DAYS + 1)
    monkeypatch.setattr(retention, "monotonic", count(step=retention.PASS_SECONDS / 4).__next__)
    assert prune() == batches
    monkeypatch.undo()
    assert prune() == 2 * batches


def test_passes_at_once_delete_each_row_once(circuit: Circuit, batches: int) -> None:
    changes(circuit, 30, days_ago=DAYS + 1)
    young = changes(circuit, 2)
    assert sum(in_threads(4, lambda _: retention.prune(DatabaseStore()))) == 30
    assert kept() == young


def test_a_pass_with_nothing_to_do_writes_nothing(circuit: Circuit) -> None:
    changes(circuit, 2)
    with CaptureQueriesContext(connections["circuits"]) as queries:
        prune()
    assert all(query["sql"].startswith("SELECT") for query in queries)
    assert len(queries) == 12


def test_a_copy_that_no_worker_took_in_time_is_dropped() -> None:
    assert prune.expires == PRUNE_EXPIRES == 1800
