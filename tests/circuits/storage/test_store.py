"""A circuit's row: how it is made, kept, changed and announced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connections, transaction
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

import circuits
from circuits.core.status import Mode
from circuits.models import Circuit, Heartbeat, Transition
from circuits.moments import to_datetime, to_seconds
from circuits.process import asking, entry, runtime
from circuits.process.gate import Gate
from circuits.signals import state_changed
from circuits.storage.database import DatabaseStore
from tests.calls import fail, refusal, succeed
from tests.clock import Clock
from tests.concurrency import in_processes, in_threads
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")


def row() -> Any:
    return Circuit.objects.get(name="payments")


def set_circuits(settings: Settings, **values: Any) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, **values}


# Made at the first use


def test_a_circuit_is_made_at_its_first_call_from_the_settings(settings: Settings) -> None:
    set_circuits(
        settings,
        DEFAULTS={"threshold": 7, "delay": 20.0},
        CIRCUITS={"payments": {"delay": 30.0, "probe_url": "http://remote/health"}},
    )
    succeed("payments")
    assert (row().threshold, row().delay) == (7, 30)
    assert row().probe_url == "http://remote/health"
    succeed("orders")
    assert Circuit.objects.get(name="orders").delay == 20


def test_once_made_a_circuit_keeps_the_values_of_the_admin(
    clock: Clock, settings: Settings
) -> None:
    set_circuits(settings, DEFAULTS={"threshold": 7})
    succeed("payments")
    Circuit.objects.update(threshold=2)
    set_circuits(settings, DEFAULTS={"threshold": 9}, CIRCUITS={"payments": {"threshold": 9}})
    runtime.forget()
    DatabaseStore().create_configured()
    fail("payments", 2)
    refusal("payments")
    assert row().threshold == 2


def test_one_circuit_too_many_is_refused_and_nothing_is_kept_of_it(settings: Settings) -> None:
    set_circuits(settings, MAX_CIRCUITS=2)
    for name in ("payments", "orders"):
        succeed(name)
    with pytest.raises(circuits.TooManyCircuitsError, match="one too many"):
        succeed("one too many")
    assert set(Circuit.objects.values_list("name", flat=True)) == {"payments", "orders"}
    assert set(runtime.gates) == {"payments", "orders"}
    succeed("payments")


@pytest.mark.parametrize("name", ["", "a\x00b", "x" * 101, " payments"])
def test_a_name_that_cannot_be_is_refused_and_nothing_is_kept_of_it(name: str) -> None:
    with pytest.raises(circuits.InvalidInputError, match="name"):
        entry.admit(name)
    assert not Circuit.objects.exists()
    assert not runtime.gates


def test_names_are_the_same_only_to_the_letter() -> None:
    for name in ("payments", "Payments", "päyments"):
        succeed(name)
    assert Circuit.objects.count() == 3


def test_the_circuits_in_the_settings_are_made_before_their_first_call(
    settings: Settings,
) -> None:
    set_circuits(settings, CIRCUITS={"payments": {"threshold": 3}, "orders": {}})
    succeed("orders")
    assert DatabaseStore().create_configured() == 1
    assert DatabaseStore().create_configured() == 0
    assert row().threshold == 3


# Kept


def test_a_circuit_deleted_under_a_running_process_is_made_anew(clock: Clock) -> None:
    CircuitFactory(name="payments")
    circuits.get("payments").observe()
    circuits.get("payments").automatic()
    succeed("payments")
    Circuit.objects.all().delete()
    succeed("payments")
    assert not Circuit.objects.exists(), "a call that changes nothing goes on as before"
    fail("payments")
    assert (row().state, row().generation) == ("closed", 0)
    fail("payments", 5)
    refusal("payments")


def test_a_flush_for_a_deleted_circuit_is_no_error() -> None:
    succeed("payments")
    Circuit.objects.all().delete()
    circuits.flush()
    assert not Circuit.objects.exists()


def test_a_restart_and_an_upgrade_leave_an_open_circuit_as_it_is() -> None:
    fail("payments", 5)
    before = Circuit.objects.values().get()
    runtime.forget()
    call_command("migrate", database="circuits", verbosity=0)
    assert Circuit.objects.values().get() == before
    assert in_processes(1, "fail", name="payments", count=1)[0]["refused"] == 1


def test_a_restart_and_an_upgrade_leave_a_forced_circuit_as_it_is() -> None:
    CircuitFactory(name="payments")
    circuits.get("payments").force_open(actor="ann")
    before = Circuit.objects.values().get()
    runtime.forget()
    call_command("migrate", database="circuits", verbosity=0)
    assert Circuit.objects.values().get() == before
    assert in_processes(1, "fail", name="payments", count=1)[0]["refused"] == 1


# Changed


def test_forced_modes_are_obeyed_by_every_process(clock: Clock) -> None:
    other = Gate("payments", DatabaseStore())
    asking.admit(other)
    circuits.get("payments").force_open()
    clock.pass_by(0.2)
    with pytest.raises(circuits.CircuitOpenError):
        asking.admit(other)
    circuits.get("payments").force_closed()
    assert (row().state, row().mode) == ("closed", Mode.FORCED_CLOSED)
    clock.pass_by(0.2)
    asking.admit(other)


def test_a_failure_is_written_with_its_time_and_its_error() -> None:
    fail("payments")
    now = DatabaseStore().now() + 0.001  # SQLite's clock counts milliseconds
    assert now - 5 < to_seconds(row().last_failure_at) <= now
    assert row().last_failure_at == row().last_attempt_at == row().run_started_at
    assert row().last_error == "ConnectionError: the remote is down"


def test_the_opening_is_written_with_its_reason_and_its_error() -> None:
    fail("payments", 5)
    transition = Transition.objects.get()
    assert (transition.from_state, transition.to_state) == ("closed", "open")
    assert (transition.reason, transition.generation) == ("failures", 1)
    assert transition.detail == "ConnectionError: the remote is down"
    assert transition.at == row().state_changed_at == row().opened_at
    assert row().retry_at == row().opened_at + timedelta(seconds=row().delay)


def test_a_change_by_a_person_is_written_with_their_name_and_their_words() -> None:
    CircuitFactory(name="payments")
    assert circuits.get("payments").force_open(actor="ann", reason="maintenance")
    transition = Transition.objects.get()
    assert (transition.actor, transition.detail) == ("ann", "maintenance")
    assert (transition.from_mode, transition.to_mode) == ("automatic", "forced_open")
    assert not circuits.get("payments").force_open(actor="bob"), "it is so already"
    assert Transition.objects.count() == 1


def test_a_trial_that_succeeds_is_written_at_once() -> None:
    CircuitFactory(name="payments", expired=True)
    succeed("payments")
    assert row().state == "closed"
    assert row().last_success_at == row().last_attempt_at == row().state_changed_at


def test_a_site_without_time_zones_keeps_the_same_moments(settings: Settings) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Tokyo"
    assert timezone.is_naive(to_datetime(0))
    assert to_seconds(to_datetime(1_000_000_000.25)) == 1_000_000_000.25
    fail("payments", 5)
    assert 9 < refusal("payments").retry_after <= 10
    assert abs(to_seconds(row().opened_at) - DatabaseStore().now()) < 5


# Told


@contextmanager
def receiving(receive: Callable[..., None]) -> Iterator[None]:
    state_changed.connect(receive)
    try:
        yield
    finally:
        state_changed.disconnect(receive)


def test_each_change_is_told_once_after_its_commit() -> None:
    told: list[tuple[str, str, str]] = []

    def receive(*, name: str, transition: Transition, **_: Any) -> None:
        # Another connection sees only what is committed.
        (committed,) = in_threads(1, lambda index: Circuit.objects.get(name=name).state)
        told.append((name, transition.to_state, committed))

    with receiving(receive):
        fail("payments", 5)
        Circuit.objects.update(retry_at=row().opened_at)
        runtime.forget()
        succeed("payments")
    assert told == [
        ("payments", "open", "open"),
        ("payments", "half_open", "half_open"),
        ("payments", "closed", "closed"),
    ]


def test_the_signal_carries_the_row_of_the_history() -> None:
    told: list[Transition] = []

    def receive(*, transition: Transition, **_: Any) -> None:
        told.append(transition)

    with receiving(receive):
        fail("payments", 5)
    assert told == list(Transition.objects.all())
    assert told[0].circuit == row()
    assert str(told[0]) == "payments: closed -> open"


def test_a_receiver_that_raises_breaks_no_call() -> None:
    def receive(**_: Any) -> None:
        raise ZeroDivisionError

    with receiving(receive):
        fail("payments", 5)
    refusal("payments")


def test_a_receiver_may_call_through_the_same_circuit() -> None:
    refused: list[float] = []

    def receive(**_: Any) -> None:
        refused.append(refusal("payments").retry_after)

    def call() -> None:
        fail("payments", 5)
        connections.close_all()

    with receiving(receive):
        caller = Thread(target=call, daemon=True)
        caller.start()
        caller.join(10)
    assert not caller.is_alive(), "the caller waits for itself"
    assert len(refused) == 1


# In a transaction of the site, on an alias that it shares with the circuits


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Yield a list of the states that the signal announces."""
    states: list[str] = []

    def receive(transition: Transition, **kwargs: Any) -> None:
        states.append(transition.to_state)

    state_changed.connect(receive)
    yield states
    state_changed.disconnect(receive)


def test_a_change_is_told_of_after_the_commit_it_is_part_of(
    told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with transaction.atomic(using="circuits"):
        fail("payments", 5)
        assert Circuit.objects.get().state == "open"
        assert told == []
        assert "Changed state" not in caplog.text
    assert told == ["open"]
    assert "Changed state from closed to open (payments)" in caplog.text


def test_a_change_that_is_rolled_back_is_not_told_of(
    told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with suppress(RuntimeError), transaction.atomic(using="circuits"):
        fail("payments", 5)
        assert Circuit.objects.get().state == "open"
        raise RuntimeError
    assert told == []
    assert "Changed state" not in caplog.text


def test_a_store_that_fails_in_the_sites_transaction_leaves_it_whole() -> None:
    def refuse(execute: Any, sql: str, *args: Any) -> Any:
        if '"circuits_circuit"' in sql or "`circuits_circuit`" in sql:
            raise OperationalError("no answer")
        return execute(sql, *args)

    with transaction.atomic(using="circuits"):
        Heartbeat.objects.create(name="of the site", at=timezone.now())
        with connections["circuits"].execute_wrapper(refuse):
            fail("payments", 5)
        assert Heartbeat.objects.count() == 1
    assert Heartbeat.objects.count() == 1


def test_the_log_says_why_since_when_what_was_refused_and_where_to_look(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SITE_URL": "https://site.example"}
    caplog.set_level("INFO", "circuits")
    fail("payments", 5)
    page = f"https://site.example/admin/circuits/circuit/{Circuit.objects.get().pk}/incident/1/"
    error = "ConnectionError: the remote is down"
    assert caplog.messages == [
        f"Changed state from closed to open (payments): failures: {error}; "
        f"next trial in 10.0 s; {page}"
    ]
    for way in ("fails", "succeeds"):
        moved = {column: F(column) - timedelta(minutes=5) for column in ("down_since", "retry_at")}
        Circuit.objects.update(total_refusals=3752, **moved)
        runtime.forget()
        caplog.clear()
        (fail if way == "fails" else succeed)("payments")
        expired, tried = caplog.messages
        assert expired.startswith(
            "Changed state from open to half_open (payments): delay passed; down for "
        )
        assert expired.endswith(f"calls refused: 3752; {page}")
        if way == "fails":
            assert f": trial failed: {error}; down for 3" in tried
            assert tried.endswith(
                f"; failed trials: 1; calls refused: 3752; next trial in 10.0 s; {page}"
            )
        else:
            assert ": trial succeeded; down for 6" in tried
            assert tried.endswith(f"; failed trials: 1; calls refused: 3752; {page}")
