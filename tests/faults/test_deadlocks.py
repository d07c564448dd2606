"""Bulk operations, the beat task, retention and traffic at once cause no deadlock."""

from __future__ import annotations

import random
import time
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import Error, OperationalError, connections, transaction
from django.test import Client
from django.urls import reverse

import circuits
from circuits.models import Circuit, Transition
from circuits.process import entry, results, runtime
from circuits.storage import errors
from circuits.storage.database import DatabaseStore
from circuits.tasks import half_open_expired
from circuits.upkeep import retention
from tests.concurrency import in_threads
from tests.factories import CircuitFactory
from tests.faults import soak

pytestmark = [pytest.mark.usefixtures("committed"), pytest.mark.urls("cbproject.urls")]

ALIAS = "circuits"

NAMES = [f"circuit {number}" for number in range(12)]


def traffic(_: Client) -> None:
    """Call through some circuits, with most calls failing."""
    for name in random.sample(NAMES, 4):
        try:
            with circuits.guard(name):
                if random.random() < 0.8:
                    raise ConnectionError("the remote is down")
        except (circuits.CircuitOpenError, ConnectionError):
            pass
    circuits.flush()


def beat(_: Client) -> None:
    """Run the tasks of beat."""
    half_open_expired()
    retention.prune(DatabaseStore())


def bulk(client: Client) -> None:
    """Steer all circuits at once, as the admin does after the confirmation."""
    keys = list(Circuit.objects.values_list("pk", flat=True))
    random.shuffle(keys)
    action = random.choice(["force_open", "reset", "automatic", "force_closed"])
    response = client.post(
        reverse("admin:circuits_circuit_operate_many", args=[action]),
        {"keys": ",".join(map(str, keys))},
    )
    assert response.status_code == 302


def edit(client: Client) -> None:
    """Write the policies of several rows in one transaction, as code of a site may."""
    with transaction.atomic(using=ALIAS):
        for circuit in Circuit.objects.using(ALIAS).order_by("pk").select_for_update()[:4]:
            Circuit.objects.using(ALIAS).filter(pk=circuit.pk).update(delay=random.random() / 50)


def test_none_among_traffic_beat_bulk_actions_and_edits(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No conflict occurs at all, since rows are always locked in the same order."""
    for name in NAMES:
        CircuitFactory.create(name=name, threshold=2, delay=0.01)
    user = get_user_model().objects.create_superuser("ann", "", "pass")
    conflicts: list[Error] = []
    is_conflict = errors.is_conflict

    def noticed(error: Error) -> bool:
        found = is_conflict(error)
        if found:
            conflicts.append(error)
        return found

    monkeypatch.setattr(errors, "is_conflict", noticed)
    clients = [Client() for _ in range(8)]
    for client in clients:
        client.force_login(user)
    end = time.monotonic() + soak.seconds(3)
    kinds = [traffic, traffic, traffic, beat, beat, bulk, bulk, edit]

    def work(index: int) -> int:
        rounds = 0
        while time.monotonic() < end:
            kinds[index](clients[index])
            rounds += 1
        return rounds

    rounds = in_threads(len(kinds), work, patience=soak.seconds(3) + 60)
    assert all(rounds)
    assert conflicts == []
    assert "does not answer" not in caplog.text
    for circuit in Circuit.objects.all():
        generations = circuit.transitions.order_by("generation").values_list(
            "generation", flat=True
        )
        assert list(generations) == list(range(1, circuit.generation + 1))


@pytest.mark.skipif(
    connections[ALIAS].vendor == "sqlite", reason="SQLite has one lock, so none can be crossed"
)
def test_a_deadlock_made_on_purpose_is_overcome() -> None:
    """Two transactions lock two rows in opposite order; one is rolled back and tried again."""
    for name in ("one", "other"):
        CircuitFactory.create(name=name)
    both = Barrier(2)
    begun: list[int] = []

    def cross(index: int) -> None:
        first, second = ("one", "other") if index else ("other", "one")

        def work() -> None:
            begun.append(index)
            with transaction.atomic(using=ALIAS):
                touch(first)
                if len(begun) == 2:
                    both.wait(20)
                touch(second)

        def first_time() -> None:
            begun.append(index)
            with transaction.atomic(using=ALIAS):
                touch(first)
                both.wait(20)
                touch(second)

        steps: list[Any] = [first_time]
        errors.retried(ALIAS, lambda: steps.pop()() if steps else work())

    in_threads(2, cross)
    assert len(begun) == 3, "one of the two was begun again"
    assert set(Circuit.objects.values_list("threshold", flat=True)) == {7}


def touch(name: str) -> None:
    circuit = Circuit.objects.using(ALIAS).filter(name=name)
    circuit.update(threshold=circuit.get().threshold + 1)


class Conflict:
    """Work that raises conflicts, with the errors of the present database."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.begun = 0

    def __call__(self) -> str:
        self.begun += 1
        if self.begun <= self.times:
            cause = Exception()
            cause.sqlstate = "40P01"  # type: ignore[attr-defined]
            raise OperationalError("deadlock detected") from cause
        return "done"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "PAUSE", 0.0)


def test_it_is_tried_again_a_bounded_number_of_times() -> None:
    work = Conflict(times=errors.ATTEMPTS - 1)
    assert errors.retried(ALIAS, work) == "done"
    assert work.begun == errors.ATTEMPTS
    hopeless = Conflict(times=100)
    with pytest.raises(OperationalError):
        errors.retried(ALIAS, hopeless)
    assert hopeless.begun == errors.ATTEMPTS


def test_it_is_not_tried_again_within_a_transaction_of_somebody_elses() -> None:
    work = Conflict(times=1)
    with pytest.raises(OperationalError), transaction.atomic(using=ALIAS):
        errors.retried(ALIAS, work)
    assert work.begun == 1


def test_another_error_is_not_tried_again() -> None:
    begun: list[int] = []

    def fail() -> None:
        begun.append(1)
        raise OperationalError("the server closed the connection")

    with pytest.raises(OperationalError):
        errors.retried(ALIAS, fail)
    assert len(begun) == 1


def test_a_call_that_meets_a_conflict_counts_once_and_is_no_outage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    CircuitFactory.create(name="payments", threshold=1)
    results.succeed(entry.admit("payments"))
    save = Transition.save
    conflict = Conflict(times=2)

    def conflicting(transition: Transition, *args: Any, **kwargs: Any) -> None:
        conflict()
        save(transition, *args, **kwargs)

    monkeypatch.setattr(Transition, "save", conflicting)
    results.fail(entry.admit("payments"), "it failed")
    assert conflict.begun == 3
    row = Circuit.objects.get(name="payments")
    assert (row.state, row.generation, row.total_failures) == ("open", 1, 1)
    assert not runtime.store.is_left
