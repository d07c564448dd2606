"""The operations on circuits that the admin, the commands and the handle share."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from circuits.exceptions import InvalidInputError
from circuits.models import Circuit, Transition
from circuits.steering.handle import CircuitHandle
from circuits.steering.operations import OPERATIONS
from tests.calls import fail, refusal, succeed
from tests.commands import shell
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")


@pytest.mark.parametrize("key", [key for key in OPERATIONS if key != "stop_injection"])
def test_each_is_a_method_of_the_handle_and_an_action_of_the_command(key: str) -> None:
    assert callable(getattr(CircuitHandle, key))
    told = shell("circuits", key.replace("_", "-"), "--help")
    assert told.status == 0
    assert str(OPERATIONS[key].help) in told.out


@pytest.mark.parametrize(
    ("endpoint", "before", "result", "said"),
    [
        ("success", {}, "changed", "Probe of payments passed: HTTP 200 in "),
        ("faulty", {}, "failed", "Probe of payments failed: HTTP 500 from "),
        ("success", {"opened": True}, "refused", "Probe of payments refused: Retry after "),
    ],
)
def test_a_probe_is_an_operation_like_the_others(
    remote: str, endpoint: str, before: dict[str, Any], result: str, said: str
) -> None:
    CircuitFactory.create(name="payments", probe_url=f"{remote}/{endpoint}", **before)
    done = OPERATIONS["probe"].perform("payments", actor="ann")
    assert (done.result, done.message[: len(said)]) == (result, said)
    assert bool(done.reason) == (result != "changed")
    ended = shell("circuits", "probe", "payments")
    assert (ended.status, ended.out[: len(said)]) == (int(result != "changed"), said)


@pytest.mark.parametrize(
    ("endpoint", "result", "state", "said"),
    [
        ("success", "changed", "closed", "Probe of payments passed: HTTP 200 in "),
        ("faulty", "failed", "open", "Probe of payments failed: HTTP 500 from "),
        ("", "changed", "half_open", "payments: the next call will try."),
    ],
)
@pytest.mark.parametrize("by", ["operation", "command"])
def test_an_open_circuit_is_tried_at_once_by_a_probe_or_by_the_next_call(
    remote: str, endpoint: str, result: str, state: str, said: str, by: str
) -> None:
    url = f"{remote}/{endpoint}" if endpoint else ""
    CircuitFactory.create(name="payments", probe_url=url, opened=True)
    if by == "operation":
        done = OPERATIONS["try_now"].perform("payments", actor="ann", reason="they say it is up")
        assert (done.result, done.message[: len(said)]) == (result, said)
    else:
        ended = shell("circuits", "try-now", "payments", "--actor", "ann", "--reason", "it is up")
        assert (ended.status, ended.out[: len(said)]) == (int(result == "failed"), said)
    assert Circuit.objects.get().state == state
    asked = Transition.objects.earliest("generation")
    assert (asked.reason, asked.to_state, asked.actor) == ("try_now", "half_open", "ann")


def test_the_next_call_of_an_open_circuit_that_is_to_try_closes_it() -> None:
    fail("payments", 5)
    refusal("payments")
    assert CircuitHandle("payments").try_now(actor="ann")
    succeed("payments")
    reasons = Transition.objects.order_by("generation").values_list("reason", flat=True)
    assert list(reasons) == ["failures", "try_now", "trial_succeeded"]


def test_a_probe_url_that_may_not_be_called_leaves_the_trial_to_the_next_call(
    settings: Settings,
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "PROBE_HOSTS": []}
    CircuitFactory.create(name="payments", probe_url="https://pay.example/", opened=True)
    done = OPERATIONS["try_now"].perform("payments")
    assert (done.result, done.message) == ("changed", "payments: the next call will try.")


@pytest.mark.parametrize(
    ("before", "result", "said"),
    [
        ({}, "unchanged", "payments: not open, nothing to wait for."),
        (
            {"opened": True, "mode": "forced_open"},
            "refused",
            "payments stays forced open; put it back to automatic first.",
        ),
    ],
)
def test_what_does_not_wait_is_not_tried(before: dict[str, Any], result: str, said: str) -> None:
    CircuitFactory.create(name="payments", probe_url="https://pay.example/", **before)
    done = OPERATIONS["try_now"].perform("payments")
    assert (done.result, done.message) == (result, said)
    assert not Transition.objects.exists()


def test_the_handle_probes(remote: str) -> None:
    CircuitFactory.create(name="payments", probe_url=f"{remote}/success")
    assert CircuitHandle("payments").probe().outcome == "passed"
    assert CircuitHandle("payments").probe(f"{remote}/faulty").outcome == "failed"
    circuit = Circuit.objects.get()
    assert (circuit.total_successes, circuit.total_failures) == (1, 1)


def test_what_would_do_nothing_is_known_beforehand() -> None:
    """A button that would do nothing is not offered, and the confirmation page says so."""
    useless = {
        key
        for key, operation in OPERATIONS.items()
        if not operation.has_effect(Circuit(mode="forced_open"))
    }
    assert useless == {"try_now", "probe", "reset", "stop_injection"}
    assert OPERATIONS["reset"].consequences("payments", Circuit(mode="forced_open")) == [
        "payments stays forced open; put it back to automatic first."
    ]
    assert not OPERATIONS["automatic"].has_effect(Circuit())


@pytest.mark.parametrize(
    ("circuit", "has_effect"),
    [
        (Circuit(), False),
        (Circuit(failure_count=1), True),
        (Circuit(window=[1]), True),
        (Circuit(accuser="host:1"), True),
        (Circuit(state="open"), True),
        (Circuit(state="half_open", mode="observe"), True),
        (Circuit(state="open", mode="forced_open"), False),
    ],
)
def test_a_reset_of_what_has_nothing_to_forget_does_nothing(
    circuit: Circuit, has_effect: bool
) -> None:
    assert OPERATIONS["reset"].has_effect(circuit) is has_effect


def test_a_probe_of_an_unknown_circuit_is_refused_and_makes_none() -> None:
    with pytest.raises(InvalidInputError):
        OPERATIONS["probe"].perform("payments")
    assert not Circuit.objects.exists()
