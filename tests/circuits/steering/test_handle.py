"""``circuits.get``: a handle by which people and scripts inspect and steer a circuit."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

import circuits
from circuits.core.status import Mode
from circuits.exceptions import ModeChangedError
from circuits.models import Circuit, Transition
from circuits.process import runtime
from circuits.signals import state_changed
from circuits.steering.handle import CircuitHandle
from tests.calls import fail, refusal, succeed
from tests.clock import database_clock
from tests.concurrency import wait_until
from tests.factories import CircuitFactory
from tests.outage import no_database

pytestmark = pytest.mark.usefixtures("committed")

Operation = Callable[..., bool]


@pytest.fixture
def payments() -> CircuitHandle:
    return circuits.get("payments")


def row() -> Any:
    return Circuit.objects.get(name="payments")


def restart() -> None:
    """Forget everything, as a process that has just started."""
    runtime.forget()


# Looking


def test_a_circuit_never_called_is_closed_and_looking_at_it_makes_none(
    payments: CircuitHandle,
) -> None:
    assert (payments.name, payments.state, payments.mode) == ("payments", "closed", "automatic")
    assert payments.retry_after == 0
    assert not Circuit.objects.exists()


def test_to_hold_a_handle_asks_and_makes_nothing(payments: CircuitHandle) -> None:
    assert repr(payments) == "circuits.get('payments')"
    assert not Circuit.objects.exists()


@pytest.mark.parametrize("name", ["", "x" * 101, "pay\nments", None])
def test_a_name_that_cannot_be_a_circuits_is_refused(name: Any) -> None:
    with pytest.raises(circuits.InvalidInputError, match="name"):
        circuits.get(name)


def test_it_tells_how_long_an_open_circuit_refuses(payments: CircuitHandle) -> None:
    fail("payments", 5)
    assert payments.state == "open"
    assert 9 < payments.retry_after <= 10


def test_it_tells_that_an_expired_circuit_would_let_a_call_through(
    payments: CircuitHandle,
) -> None:
    CircuitFactory(name="payments", expired=True)
    assert payments.retry_after == 0
    assert payments.state == "open", "looking at it changes nothing"


def test_it_tells_that_a_trial_is_under_way(payments: CircuitHandle) -> None:
    CircuitFactory(name="payments", expired=True)
    with circuits.guard("payments"):
        assert payments.state == "half_open"
        assert 0 < payments.retry_after <= 1


def test_it_tells_that_a_circuit_under_observation_refuses_nothing(
    payments: CircuitHandle,
) -> None:
    CircuitFactory(name="payments", opened=True, mode=Mode.OBSERVE)
    assert (payments.state, payments.retry_after) == ("open", 0)


def test_it_sees_what_others_did(payments: CircuitHandle) -> None:
    CircuitFactory(name="payments")
    assert payments.mode == "automatic"
    Circuit.objects.update(mode=Mode.FORCED_CLOSED)
    assert payments.mode == "forced_closed"


# Every operation: who asked for it and the words they gave, recorded once

OPERATIONS: dict[str, tuple[dict[str, Any], Operation, tuple[str, str]]] = {
    "try now": ({"opened": True}, CircuitHandle.try_now, ("half_open", "automatic")),
    "reset": ({"opened": True}, CircuitHandle.reset, ("closed", "automatic")),
    "force open": ({}, CircuitHandle.force_open, ("open", "forced_open")),
    "force closed": ({"opened": True}, CircuitHandle.force_closed, ("closed", "forced_closed")),
    "observe": ({}, CircuitHandle.observe, ("closed", "observe")),
    "automatic": ({"mode": Mode.OBSERVE}, CircuitHandle.automatic, ("closed", "automatic")),
}


@pytest.mark.parametrize(("circuit", "operate", "after"), OPERATIONS.values(), ids=OPERATIONS)
def test_an_operation_is_done_once_and_written_in_the_history(
    payments: CircuitHandle, circuit: Any, operate: Operation, after: tuple[str, str]
) -> None:
    CircuitFactory(name="payments", **circuit)
    before = row()
    assert operate(payments, actor="ada", reason="the bank asked for it") is True
    assert operate(payments, actor="bob", reason="for me too") is False

    assert (payments.state, payments.mode) == after
    transition = Transition.objects.get()
    assert (transition.actor, transition.detail) == ("ada", "the bank asked for it")
    assert (transition.from_state, transition.from_mode) == (before.state, before.mode)
    assert (transition.to_state, transition.to_mode) == after
    own = {CircuitHandle.reset: "reset", CircuitHandle.try_now: "try_now"}
    assert transition.reason == own.get(operate, "mode")
    assert transition.generation == row().generation == before.generation + 1


@pytest.mark.parametrize(("circuit", "operate", "after"), OPERATIONS.values(), ids=OPERATIONS)
def test_what_was_done_outlives_the_process_that_did_it(
    payments: CircuitHandle, circuit: Any, operate: Operation, after: tuple[str, str]
) -> None:
    CircuitFactory(name="payments", **circuit)
    operate(payments)
    restart()
    again = circuits.get("payments")
    assert (again.state, again.mode) == after
    assert Transition.objects.count() == 1


@pytest.mark.parametrize(("circuit", "operate", "after"), OPERATIONS.values(), ids=OPERATIONS)
def test_an_operation_is_in_force_in_its_own_process_at_once(
    payments: CircuitHandle, circuit: Any, operate: Operation, after: tuple[str, str]
) -> None:
    CircuitFactory(name="payments", **circuit)
    _let_through()
    operate(payments)
    assert _let_through() is (after[0] != "open")


def _let_through() -> bool:
    try:
        succeed("payments")
    except circuits.CircuitOpenError:
        return False
    return True


# Names that are not allowed


@pytest.mark.parametrize("case", OPERATIONS.values(), ids=OPERATIONS)
def test_steering_what_does_not_exist_is_an_error_that_names_what_is_like_it(case: Any) -> None:
    for name in ("payments", "payouts", "search"):
        CircuitFactory(name=name)
    with pytest.raises(circuits.UnknownCircuitError) as unknown:
        case[1](circuits.get("paymnts"))
    sentence = "There is no circuit named paymnts. Did you mean payments, payouts?"
    assert str(unknown.value) == sentence
    assert (unknown.value.name, unknown.value.near) == ("paymnts", ("payments", "payouts"))
    assert isinstance(unknown.value, circuits.InvalidInputError)
    assert str(pickle.loads(pickle.dumps(unknown.value))) == sentence
    assert Circuit.objects.count() == 3
    assert not Transition.objects.exists()


def test_where_nothing_is_like_it_nothing_is_suggested() -> None:
    CircuitFactory(name="payments")
    with pytest.raises(circuits.UnknownCircuitError, match=r"^There is no circuit named x\.$"):
        circuits.get("x").force_open()


def test_what_settings_or_code_name_can_be_steered_before_its_first_call(
    settings: Settings,
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "CIRCUITS": {"payments": {"threshold": 3}}}
    circuits.CircuitBreaker(print, name="printing", threshold=2)
    for name, threshold in (("payments", 3), ("printing", 2)):
        assert circuits.get(name).force_open()
        refusal(name)
        assert Circuit.objects.get(name=name).threshold == threshold
    with pytest.raises(circuits.UnknownCircuitError, match=r"Did you mean printing\?$"):
        circuits.get("priting").reset()


def test_in_an_outage_looking_makes_no_circuit_in_memory_either(payments: CircuitHandle) -> None:
    with no_database():
        assert (payments.state, payments.retry_after) == ("closed", 0)
        assert runtime.store.memory.find("payments") is None


# Reset


def test_a_reset_lets_calls_through(payments: CircuitHandle) -> None:
    fail("payments", 5)
    refusal("payments")
    payments.reset()
    assert row().failure_count == 0
    assert (row().opened_at, row().retry_at) == (None, None)
    fail("payments", 4)
    assert payments.state == "closed", "it counts from none"


def test_a_reset_of_a_closed_circuit_forgets_its_failures_and_is_no_transition(
    payments: CircuitHandle,
) -> None:
    fail("payments", 3)
    assert payments.reset(actor="ada") is True
    assert (row().failure_count, Transition.objects.count()) == (0, 0)
    assert payments.reset(actor="ada") is False


def test_a_reset_leaves_a_forced_open_circuit_as_it_is(payments: CircuitHandle) -> None:
    CircuitFactory(name="payments")
    payments.force_open()
    assert payments.reset() is False
    assert (payments.state, payments.mode) == ("open", "forced_open")
    refusal("payments")


# Force open


def test_a_forced_open_circuit_refuses_all_and_time_changes_nothing(
    payments: CircuitHandle,
) -> None:
    CircuitFactory(name="payments")
    payments.force_open()
    Circuit.objects.update(retry_at=F("retry_at") - timedelta(days=1))
    restart()
    assert refusal("payments").retry_after == 10, "the delay"
    assert payments.retry_after == 10
    assert (payments.state, Transition.objects.count()) == ("open", 1)


def test_out_of_forced_open_the_next_call_tries(payments: CircuitHandle) -> None:
    CircuitFactory(name="payments")
    payments.force_open()
    assert payments.automatic() is True
    assert payments.state == "open"
    with circuits.guard("payments"):
        assert payments.state == "half_open"
    assert payments.state == "closed"


# Force closed


def test_a_forced_closed_circuit_lets_all_pass_and_records(payments: CircuitHandle) -> None:
    CircuitFactory(name="payments")
    payments.force_closed()
    fail("payments", 7)
    assert (row().state, row().failure_count, row().total_failures) == ("closed", 7, 7)
    assert row().last_error == "ConnectionError: the remote is down"
    assert Transition.objects.count() == 1


def test_out_of_forced_closed_the_failures_count(payments: CircuitHandle) -> None:
    CircuitFactory(name="payments")
    payments.force_closed()
    fail("payments", 7)
    payments.automatic()
    assert payments.state == "closed"
    _let_settle()
    fail("payments")
    assert payments.state == "open"


def _let_settle() -> None:
    """Let the run of failures be older than any snapshot."""
    Circuit.objects.update(run_started_at=timezone.now() - timedelta(minutes=1))


# Observe


def test_a_circuit_under_observation_refuses_nothing_while_its_states_go_on(
    payments: CircuitHandle,
) -> None:
    CircuitFactory(name="payments")
    payments.observe()
    fail("payments", 5)
    assert (payments.state, payments.mode) == ("open", "observe")
    fail("payments")
    succeed("payments")
    assert payments.state == "open", "what would have been refused counts as nothing"

    Circuit.objects.update(retry_at=F("retry_at") - timedelta(minutes=1))
    restart()
    succeed("payments")
    changes = Transition.objects.order_by("id").values_list("from_state", "to_state", "to_mode")
    assert list(changes) == [
        ("closed", "closed", "observe"),
        ("closed", "open", "observe"),
        ("open", "half_open", "observe"),
        ("half_open", "closed", "observe"),
    ]


def test_back_to_automatic_the_state_observed_counts(payments: CircuitHandle) -> None:
    CircuitFactory(name="payments")
    payments.observe()
    fail("payments", 5)
    payments.automatic()
    refusal("payments")


def test_a_reset_of_a_closed_circuit_forgets_the_failures_so_far() -> None:
    fail("payments", 4)
    assert circuits.get("payments").reset()
    fail("payments", 4)
    assert circuits.get("payments").state == "closed"
    fail("payments")
    assert circuits.get("payments").state == "open"


# For a while


@pytest.mark.parametrize("snapshot_seconds", [0, 0.2])
def test_a_mode_ends_by_itself_by_the_clock_of_the_database(
    payments: CircuitHandle,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    snapshot_seconds: float,
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": snapshot_seconds}
    CircuitFactory(name="payments")
    with database_clock(monkeypatch) as clock:
        assert payments.force_open(actor="ann", reason="maintenance", seconds=1800)
        assert 1799 < refusal("payments").retry_after <= 1800
        history = Transition.objects.get()
        assert history.until == row().mode_until
        assert (history.until - history.at).total_seconds() == 1800
        clock.jump(1799)
        restart()
        assert refusal("payments").retry_after <= 1
        clock.jump(1)
        restart()
        succeed("payments")  # the trial
    assert (payments.state, payments.mode) == ("closed", "automatic")
    assert row().mode_until is None
    reasons = Transition.objects.order_by("generation").values_list("reason", flat=True)
    assert list(reasons) == ["mode", "mode_over", "trial_succeeded"]


def test_a_process_that_has_it_in_memory_sees_the_end_too(payments: CircuitHandle) -> None:
    CircuitFactory(name="payments")
    payments.force_closed(seconds=1)
    fail("payments", 9)

    def is_over() -> bool:
        succeed("payments")
        return payments.mode is Mode.AUTOMATIC

    wait_until(is_over)


@pytest.mark.parametrize("seconds", [0, -1, 1e12, float("nan"), "30m", True])
def test_a_while_that_cannot_be_is_refused(payments: CircuitHandle, seconds: Any) -> None:
    with pytest.raises(circuits.InvalidInputError, match=r"^seconds must be a number from 1 to "):
        payments.force_open(seconds=seconds)
    assert not Circuit.objects.exists()


def test_another_while_is_a_change_of_its_own(payments: CircuitHandle) -> None:
    CircuitFactory(name="payments")
    assert payments.observe(seconds=60)
    assert payments.observe(seconds=600)
    assert payments.observe()
    assert not payments.observe()
    ends = Transition.objects.order_by("generation").values_list("until", flat=True)
    assert [until is not None for until in ends] == [True, True, False]


def test_one_that_has_seen_another_mode_does_nothing() -> None:
    CircuitFactory.create(name="payments", mode=Mode.OBSERVE)
    handle = CircuitHandle("payments", seen=Mode.AUTOMATIC)
    for steer in (handle.force_open, handle.force_closed, handle.automatic, handle.reset):
        with pytest.raises(ModeChangedError, match="payments is observe by now, not automatic"):
            steer()
    assert CircuitHandle("payments", seen=Mode.OBSERVE).force_open()
    assert circuits.get("payments").mode is Mode.FORCED_OPEN


# The signal


def test_what_somebody_does_is_told_by_a_signal_and_a_line_of_the_log(
    payments: CircuitHandle, caplog: pytest.LogCaptureFixture
) -> None:
    succeed("payments")
    told: list[tuple[str, str, str]] = []

    def hear(*, name: str, transition: Transition, **_: Any) -> None:
        told.append((name, transition.to_mode, transition.actor))

    state_changed.connect(hear)
    try:
        payments.force_open(actor="ann")
        payments.force_open(actor="ben")  # which changes nothing
        payments.automatic(actor="ann")
    finally:
        state_changed.disconnect(hear)
    assert told == [("payments", "forced_open", "ann"), ("payments", "automatic", "ann")]
    assert "Changed mode from automatic to forced_open (payments): mode (by ann)" in caplog.messages
    assert "Changed mode from forced_open to automatic (payments): mode (by ann)" in caplog.text
