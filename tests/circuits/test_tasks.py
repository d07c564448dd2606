"""The task of beat: open circuits whose delay has passed become half_open without traffic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from circuits.core.status import Mode, State
from circuits.models import Circuit, Transition
from circuits.signals import state_changed
from circuits.storage.database import EXPIRE_BATCH, DatabaseStore
from circuits.tasks import EXPIRES, half_open_expired
from tests.concurrency import PATIENCE, in_threads, let_go, result_of, start_worker
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")


def states() -> dict[str, str]:
    return dict(Circuit.objects.values_list("name", "state"))


def test_exactly_the_expired_open_circuits_are_moved() -> None:
    CircuitFactory(name="expired", expired=True)
    CircuitFactory(name="observed", expired=True, mode=Mode.OBSERVE)
    CircuitFactory(name="forced", expired=True, mode=Mode.FORCED_OPEN)
    CircuitFactory(name="open", opened=True)
    CircuitFactory(name="closed")
    CircuitFactory(name="trying", expired=True, state="half_open")
    assert half_open_expired() == 2
    assert states() == {
        "expired": "half_open",
        "observed": "half_open",
        "forced": "open",
        "open": "open",
        "closed": "closed",
        "trying": "half_open",
    }
    assert half_open_expired() == 0


def test_modes_that_are_over_end_without_any_traffic() -> None:
    over = {"mode_until": timezone.now() - timedelta(seconds=1)}
    later = {"mode_until": timezone.now() + timedelta(minutes=1)}
    CircuitFactory(name="shut", expired=True, mode=Mode.FORCED_OPEN, **over)
    CircuitFactory(name="let through", mode=Mode.FORCED_CLOSED, **over)
    CircuitFactory(name="watched", opened=True, mode=Mode.OBSERVE, **over)
    CircuitFactory(name="shut for longer", expired=True, mode=Mode.FORCED_OPEN, **later)
    CircuitFactory(name="shut for good", expired=True, mode=Mode.FORCED_OPEN)
    assert half_open_expired() == 3
    assert half_open_expired() == 0
    now = {row.name: (row.state, row.mode, row.mode_until) for row in Circuit.objects.all()}
    assert now == {
        "shut": ("half_open", "automatic", None),
        "let through": ("closed", "automatic", None),
        "watched": ("open", "automatic", None),
        "shut for longer": ("open", "forced_open", later["mode_until"]),
        "shut for good": ("open", "forced_open", None),
    }
    reasons = Transition.objects.values_list("circuit__name", "reason", "until", "actor")
    assert set(reasons) == {
        (name, "mode_over", None, "") for name in ("shut", "let through", "watched")
    }


def test_each_move_is_written_in_the_history_and_told() -> None:
    told: list[str] = []

    def receive(*, name: str, **_: object) -> None:
        told.append(name)

    CircuitFactory(name="payments", expired=True, generation=7)
    state_changed.connect(receive)
    try:
        half_open_expired()
    finally:
        state_changed.disconnect(receive)
    transition = Transition.objects.get()
    assert (transition.from_state, transition.to_state) == ("open", "half_open")
    assert (transition.reason, transition.generation, transition.actor) == ("delay_passed", 8, "")
    row = Circuit.objects.get()
    assert (row.generation, row.retry_at, row.state_changed_at) == (8, None, transition.at)
    assert told == ["payments"]


def test_more_than_a_batch_is_moved_in_one_pass_with_few_queries() -> None:
    CircuitFactory.create_batch(3)
    Circuit.objects.bulk_create(CircuitFactory.build_batch(EXPIRE_BATCH + 1, expired=True))
    with CaptureQueriesContext(connections["circuits"]) as queries:
        assert half_open_expired() == EXPIRE_BATCH + 1
    assert Circuit.objects.filter(state="half_open").count() == EXPIRE_BATCH + 1
    assert Transition.objects.count() == EXPIRE_BATCH + 1
    assert len(queries) < 50


def test_a_batch_locks_no_more_than_its_size() -> None:
    CircuitFactory.create_batch(5, expired=True)
    assert [DatabaseStore().expire_due(batch=2) for _ in range(4)] == [2, 2, 1, 0]


def test_circuits_that_stay_as_they_are_take_no_place_in_a_batch() -> None:
    CircuitFactory.create_batch(3, expired=True, mode=Mode.FORCED_OPEN)
    CircuitFactory(name="payments", expired=True)
    assert DatabaseStore().expire_due(batch=2) == 1


def test_modes_that_do_not_end_yet_take_no_place_in_a_batch() -> None:
    later, past = (timezone.now() + timedelta(seconds=each) for each in (60, -1))
    CircuitFactory(mode=Mode.FORCED_OPEN)
    CircuitFactory(mode=Mode.FORCED_OPEN, mode_until=later)
    CircuitFactory(name="payments", mode=Mode.FORCED_CLOSED, mode_until=past)
    assert DatabaseStore().end_modes(batch=1) == 1
    assert Circuit.objects.get(name="payments").mode == Mode.AUTOMATIC


def test_a_row_that_makes_no_sense_keeps_no_other_from_its_trial(
    caplog: pytest.LogCaptureFixture,
) -> None:
    CircuitFactory(name="senseless", expired=True)
    past = timezone.now() - timedelta(seconds=1)
    CircuitFactory(name="also senseless", mode=Mode.FORCED_OPEN, mode_until=past)
    Circuit.objects.update(window={"buckets": "none"})
    CircuitFactory(name="payments", expired=True)
    CircuitFactory(name="mail", mode=Mode.FORCED_CLOSED, mode_until=past)
    assert [half_open_expired() for _ in range(3)] == [2, 0, 0]
    assert Circuit.objects.get(name="payments").state == State.HALF_OPEN
    assert Circuit.objects.get(name="mail").mode == Mode.AUTOMATIC
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.getMessage() for record in errors] == [
        "The row of the circuit senseless cannot be understood; it stays."
    ]
    assert errors[0].exc_info


def test_a_pass_with_nothing_to_do_writes_its_heartbeat_alone() -> None:
    CircuitFactory(opened=True)
    with CaptureQueriesContext(connections["circuits"]) as queries:
        half_open_expired()
    writes = [sql for sql in (query["sql"] for query in queries) if sql[:6] in ("UPDATE", "INSERT")]
    assert writes
    assert all("circuits_heartbeat" in sql for sql in writes)


def test_passes_in_many_threads_and_processes_move_each_circuit_once() -> None:
    Circuit.objects.bulk_create(CircuitFactory.build_batch(60, expired=True))
    workers = [start_worker("expire") for _ in range(2)]
    try:
        let_go(*workers)
        moved = sum(in_threads(4, lambda index: half_open_expired()))
        moved += sum(result_of(worker) for worker in workers)
    finally:
        for worker in workers:
            worker.kill()
    assert moved + half_open_expired() == 60
    assert set(states().values()) == {"half_open"}
    assert Transition.objects.count() == 60


@contextmanager
def locked_elsewhere(name: str) -> Iterator[None]:
    """Lock a circuit's row on another connection while the block runs."""
    locked, done = Event(), Event()

    def hold() -> None:
        with transaction.atomic(using="circuits"):
            Circuit.objects.select_for_update().get(name=name)
            locked.set()
            done.wait(PATIENCE)
        connections.close_all()

    holder = Thread(target=hold)
    holder.start()
    try:
        assert locked.wait(PATIENCE)
        yield
    finally:
        done.set()
        holder.join()


@pytest.mark.skipif(
    django_settings.TEST_DATABASE == "sqlite", reason="SQLite locks the whole database"
)
def test_a_row_that_is_locked_is_left_to_its_holder_and_the_rest_is_moved() -> None:
    for name in ("first", "held", "last"):
        CircuitFactory(name=name, expired=True)
    with locked_elsewhere("held"):
        assert half_open_expired() == 2
        assert states() == {"first": "half_open", "held": "open", "last": "half_open"}
    assert half_open_expired() == 1


@pytest.mark.skipif(
    django_settings.TEST_DATABASE == "sqlite", reason="SQLite locks the whole database"
)
def test_no_more_rows_are_locked_than_are_taken() -> None:
    CircuitFactory.create_batch(5, expired=True)

    def unlocked(_: int) -> int:
        with transaction.atomic(using="circuits"):
            return len(Circuit.objects.select_for_update(skip_locked=True))

    left: list[int] = []

    def look(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("INSERT") and not left:  # the changes of the rows that it has taken
            left.extend(in_threads(1, unlocked))
        return execute(sql, *args)

    with connections["circuits"].execute_wrapper(look):
        assert DatabaseStore().expire_due(2) == 2
    assert left == [3]


def test_it_makes_the_circuits_that_the_settings_name(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "CIRCUITS": {"payments": {"threshold": 3}}}
    half_open_expired()
    assert Circuit.objects.get().threshold == 3


def test_a_copy_that_no_worker_took_in_time_is_dropped() -> None:
    assert half_open_expired.expires == EXPIRES == 2
