"""Many threads and processes that call through one circuit."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
import requests
from django.db.models import F
from pytest_django import Settings

import circuits
from circuits.core import machine
from circuits.core.policy import Policy
from circuits.models import Circuit, Transition
from circuits.storage.database import DatabaseStore
from mockapi.hits import hits
from tests.concurrency import PATIENCE, in_processes, in_threads, let_go, result_of, start_worker
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")

#: Seconds of a trial's lease, by default.
LEASE = Policy().lease_seconds


def set_circuits(settings: Settings, **values: Any) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, **values}


def openings() -> int:
    return Transition.objects.filter(from_state="closed", to_state="open").count()


# Opening


def test_failures_of_many_processes_open_the_circuit_once_at_exactly_the_threshold(
    settings: Settings,
) -> None:
    set_circuits(settings, SNAPSHOT_SECONDS=0)
    results = in_processes(8, "fail", name="payments", count=50)
    row = Circuit.objects.get()
    assert openings() == Transition.objects.count() == 1
    assert row.state == "open"
    assert row.failure_count == row.total_failures == row.threshold == 5
    assert sum(result["made"] + result["refused"] for result in results) == 8 * 50
    assert sum(result["told"] for result in results) == 1, "the change is told exactly once"


def test_failures_of_many_processes_with_snapshots_open_the_circuit_once(
    settings: Settings,
) -> None:
    set_circuits(settings, SNAPSHOT_SECONDS=0.2)
    results = in_processes(8, "fail", name="payments", count=50)
    row = Circuit.objects.get()
    assert openings() == Transition.objects.count() == 1
    assert row.state == "open"
    # A process that sees five failures in a row opens it, and later failures no longer count.
    assert 5 <= row.failure_count == row.total_failures <= 8 * 5
    assert sum(result["told"] for result in results) == 1


@pytest.mark.parametrize("attempt", range(5))  # locks in a wrong order show only by chance
def test_failures_of_many_threads_open_the_circuit_once(settings: Settings, attempt: int) -> None:
    set_circuits(settings, SNAPSHOT_SECONDS=0)
    admitted = Barrier(20)

    def work(index: int) -> None:
        with suppress(ConnectionError), circuits.guard("payments"):
            admitted.wait(PATIENCE)
            raise ConnectionError

    in_threads(20, work)
    row = Circuit.objects.get()
    assert openings() == Transition.objects.count() == 1
    assert row.failure_count == row.total_failures == 5


def test_a_run_shared_by_processes_opens_unless_a_process_has_a_success_in_time() -> None:
    def let_run_grow_old() -> None:
        Circuit.objects.update(run_started_at=F("run_started_at") - timedelta(seconds=1))

    in_processes(1, "fail", name="payments", count=4)
    let_run_grow_old()
    in_processes(1, "succeed", name="payments", count=1)
    in_processes(1, "fail", name="payments", count=4)
    assert openings() == 0
    let_run_grow_old()
    in_processes(1, "fail", name="payments", count=1)
    assert openings() == 1


# Trials


@pytest.mark.parametrize("most", [1, 3])
def test_of_a_hundred_threads_at_an_expired_circuit_only_the_trials_reach_the_server(
    remote: str, most: int
) -> None:
    CircuitFactory(name="payments", expired=True, half_open_max_calls=most)
    answered = Barrier(100)

    def work(index: int) -> float | None:
        try:
            with circuits.guard("payments"):
                requests.get(f"{remote}/success", timeout=10)
                answered.wait(PATIENCE)  # a trial goes on until all the others have their answer
        except circuits.CircuitOpenError as error:
            answered.wait(PATIENCE)
            return error.retry_after
        return None

    waits = [seconds for seconds in in_threads(100, work) if seconds is not None]
    assert hits.snapshot()["success"] == most
    assert len(waits) == 100 - most
    assert all(0 < seconds <= LEASE for seconds in waits)
    assert Circuit.objects.get().state == "closed"
    assert Transition.objects.count() == 2


@pytest.mark.parametrize("most", [1, 3])
def test_of_many_processes_at_an_expired_circuit_only_the_trials_reach_the_server(
    remote: str, most: int
) -> None:
    CircuitFactory(name="payments", expired=True, half_open_max_calls=most)
    workers = [start_worker("try_once", name="payments", url=f"{remote}/success") for _ in range(6)]
    try:
        let_go(*workers)
        let_go(*workers, at="answered")
        waits = [seconds for worker in workers if (seconds := result_of(worker)) is not None]
    finally:
        for worker in workers:
            worker.kill()
    assert hits.snapshot()["success"] == most
    assert len(waits) == 6 - most
    assert all(0 < seconds <= LEASE for seconds in waits)
    assert Circuit.objects.get().state == "closed"


def test_a_trial_is_refused_no_longer_than_the_lease_of_another() -> None:
    CircuitFactory(name="payments", expired=True, lease_seconds=0.5)
    with circuits.guard("payments"):
        waits = in_threads(2, lambda index: circuits.get("payments").retry_after)
    assert all(0 < seconds <= 0.5 for seconds in waits)


# Creation


def test_a_circuit_that_many_ask_for_first_is_made_once_without_an_error() -> None:
    def work(index: int) -> None:
        store = DatabaseStore()
        if index % 2:
            store.read("payments")
        else:
            store.change("payments", lambda row: machine.reset(row.status, row.now))

    in_threads(20, work)
    assert Circuit.objects.count() == 1


def test_circuits_that_many_processes_ask_for_first_are_made_once_each() -> None:
    names = [f"circuit {number}" for number in range(20)]
    in_processes(4, "succeed_each", names=names)
    assert Counter(Circuit.objects.values_list("name", flat=True)) == Counter(names)
