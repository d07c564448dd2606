"""A process that is killed in the middle of an operation leaves the row complete and unlocked."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connections, transaction

import circuits
from circuits.models import Circuit, Transition
from circuits.process import entry, results, runtime
from circuits.tasks import half_open_expired
from tests.calls import refusal, succeed
from tests.concurrency import PATIENCE, let_go, start_worker, wait_until
from tests.factories import CircuitFactory
from tests.test_brokers import FILES, broker, worker

pytestmark = pytest.mark.usefixtures("committed")

ALIAS = "circuits"


@contextmanager
def holder(where: str) -> Iterator[Popen[str]]:
    """Run a process until it stops in a function of :mod:`tests.faults.holders`; then kill it."""
    process = start_worker("hold", where=where, name="payments")
    try:
        let_go(process)
        assert process.stdout
        assert process.stdout.readline() == "there\n"
        yield process
    finally:
        kill(process)
        for pipe in (process.stdin, process.stdout):
            assert pipe
            pipe.close()


def kill(process: Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)


def columns() -> dict[str, Any]:
    return {**Circuit.objects.filter(name="payments").values().get()}


def is_let_through() -> bool:
    """Make a call that succeeds if it is let through, and return whether it was."""
    runtime.forget()
    try:
        results.succeed(entry.admit("payments"))
    except circuits.CircuitOpenError:
        return False
    return True


def test_of_a_killed_trial_the_lease_ends_and_another_call_tries() -> None:
    CircuitFactory.create(name="payments", expired=True, lease_seconds=2)
    with holder("in_a_trial") as process:
        kill(process)
        assert columns()["state"] == "half_open"
        assert 0 < refusal("payments").retry_after <= 2
        wait_until(is_let_through)
    assert columns()["state"] == "closed"
    assert columns()["leases"] == []
    states = Transition.objects.order_by("generation").values_list("from_state", "to_state")
    assert list(states) == [("open", "half_open"), ("half_open", "closed")]


def test_a_trial_keeps_its_lease_until_its_process_is_killed() -> None:
    CircuitFactory.create(name="payments", expired=True, lease_seconds=1)
    with holder("in_a_trial") as process:
        [[token, first]] = columns()["leases"]
        wait_until(lambda: columns()["leases"][0][1] >= first + 1)
        assert columns()["leases"][0][0] == token
        refusal("payments")
        kill(process)
        wait_until(is_let_through)
    assert columns()["state"] == "closed"


@pytest.mark.parametrize("where", ["in_a_locked_change", "between_the_row_and_its_history"])
def test_a_killed_change_is_none_and_locks_nobody_out(where: str) -> None:
    CircuitFactory.create(name="payments")
    before = columns()
    with holder(where) as process:
        kill(process)
        assert columns() == before
        assert not Transition.objects.exists()
        # Its lock is gone as soon as the database notices that the process is.
        assert circuits.get("payments").force_open(actor="ann")
    transition = Transition.objects.get()
    assert (transition.generation, transition.actor) == (before["generation"] + 1, "ann")


def test_a_killed_flush_is_written_whole_or_not_at_all() -> None:
    CircuitFactory.create(name="payments")
    with holder("in_a_flush") as process, transaction.atomic(using=ALIAS):
        Circuit.objects.using(ALIAS).select_for_update().filter(name="payments").update(threshold=6)
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
        if settings.TEST_DATABASE == "postgres":
            wait_until(somebody_waits_for_a_lock)
        kill(process)
    # A server may execute what it was sent although nobody is left to get the answer.
    wait_until(nobody_waits_for_a_lock)
    assert columns()["total_successes"] in (0, 3)
    assert columns()["threshold"] == 6
    before = columns()["total_successes"]
    succeed("payments")
    circuits.flush()
    assert columns()["total_successes"] == before + 1


def nobody_waits_for_a_lock() -> bool:
    return not somebody_waits_for_a_lock()


def somebody_waits_for_a_lock() -> bool:
    if connections[ALIAS].vendor != "postgresql":
        return False
    with connections[ALIAS].cursor() as cursor:
        # Within a transaction, the server would repeat what it showed at first.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        (waiting,) = cursor.fetchone()
    return bool(waiting)


def test_without_worker_and_beat_traffic_moves_circuits_and_there_is_no_backlog(
    tmp_path: Path,
) -> None:
    queue = f"circuits-test-{uuid4().hex}"
    CircuitFactory.create(name="payments", expired=True)
    with broker(FILES, tmp_path, queue) as connection:
        messages = tmp_path / "broker" / "messages"
        with worker(FILES, tmp_path, queue) as killed:
            half_open_expired.apply_async(
                producer=connection.Producer(), queue=queue, expires=PATIENCE
            )
            wait_until(lambda: columns()["state"] == "half_open")
            killed.kill()
            killed.wait(PATIENCE)
        # Beat goes on for a while, and no worker takes its messages.
        CircuitFactory.create(name="mail", expired=True)
        for _ in range(20):
            half_open_expired.apply_async(producer=connection.Producer(), queue=queue, expires=0.01)
        assert len(list(messages.glob(f"*.{queue}.msg"))) == 20
        succeed("mail")
        assert Circuit.objects.get(name="mail").state == "closed"
        CircuitFactory.create(name="orders", expired=True)
        with worker(FILES, tmp_path, queue):
            wait_until(lambda: not list(messages.glob(f"*.{queue}.msg")))
            # All of them were dropped, so only what is sent now is executed.
            assert Circuit.objects.get(name="orders").state == "open"
            half_open_expired.apply_async(
                producer=connection.Producer(), queue=queue, expires=PATIENCE
            )
            wait_until(lambda: Circuit.objects.get(name="orders").state == "half_open")
