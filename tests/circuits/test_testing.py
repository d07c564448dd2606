"""The helpers for the tests of sites that use circuits. No test here may use a database."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import circuits
from circuits.models import Circuit, Transition
from circuits.signals import state_changed
from circuits.testing import memory_circuits, override_circuit

pytest_plugins = ["circuits.pytest_plugin"]


def call(name: str) -> str:
    try:
        with circuits.guard(name):
            return "made"
    except circuits.CircuitOpenError:
        return "refused"


def fail(name: str) -> None:
    with pytest.raises(ConnectionError), circuits.guard(name):
        raise ConnectionError


def test_circuits_live_in_memory_without_a_database() -> None:
    with memory_circuits():
        for _ in range(5):
            fail("payments")
        assert call("payments") == "refused"
        assert circuits.get("payments").state == "open"
        circuits.get("payments").reset()
        assert call("payments") == "made"
        circuits.flush()
    with memory_circuits():
        assert circuits.get("payments").state == "closed"


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"state": "closed"}, "made"),
        ({"state": "open"}, "refused"),
        ({"state": "open", "retry_after": 0}, "made"),
        ({"state": "half_open"}, "made"),
        ({"mode": "forced_open"}, "refused"),
        ({"state": "open", "mode": "forced_closed"}, "made"),
        ({"state": "open", "mode": "observe"}, "made"),
    ],
)
def test_a_circuit_is_put_in_a_state(how: dict[str, object], expected: str) -> None:
    with override_circuit("payments", **how):  # type: ignore[arg-type]
        assert call("payments") == expected
        assert call("another") == "made"


def test_it_says_how_long_it_refuses() -> None:
    with override_circuit("payments", state="open", retry_after=8.69):
        with pytest.raises(circuits.CircuitOpenError) as refused, circuits.guard("payments"):
            pass
        assert 8 < refused.value.retry_after <= 8.69


def test_its_policy_can_be_chosen() -> None:
    with override_circuit("payments", threshold=1):
        fail("payments")
        assert call("payments") == "refused"


def test_overrides_nest_and_end() -> None:
    with override_circuit("payments", state="open"):
        with override_circuit("rates", state="open"):
            assert (call("payments"), call("rates")) == ("refused", "refused")
        assert (call("payments"), call("rates")) == ("refused", "made")
    with memory_circuits():
        assert call("payments") == "made"


def test_overrides_of_one_circuit_nest() -> None:
    with override_circuit("payments", state="open"):
        with override_circuit("payments"):
            assert call("payments") == "made"
        assert call("payments") == "refused"


def test_the_signal_of_a_change_is_sent_in_memory_too() -> None:
    heard: list[tuple[object, ...]] = []

    def hear(sender: object, name: str, transition: Transition, **kwargs: object) -> None:
        assert transition.circuit.name == name
        heard.append((sender, name, transition.from_state, transition.to_state, transition.actor))

    state_changed.connect(hear)
    try:
        with memory_circuits():
            for _ in range(5):
                fail("payments")
            circuits.get("rates").force_open(actor="ann")
    finally:
        state_changed.disconnect(hear)
    assert heard == [
        (Circuit, "payments", "closed", "open", ""),
        (Circuit, "rates", "closed", "open", "ann"),
    ]


@override_circuit("payments", state="open")
def test_it_decorates() -> None:
    assert call("payments") == "refused"


@override_circuit("payments", state="open")
async def test_it_decorates_coroutine_functions() -> None:
    with pytest.raises(circuits.CircuitOpenError):
        async with circuits.guard("payments"):
            pass


@memory_circuits()
async def test_async_calls_need_no_database_either() -> None:
    async with circuits.guard("payments"):
        pass


def test_a_mistake_is_named() -> None:
    with pytest.raises(circuits.InvalidInputError, match="threshold"):
        override_circuit("payments", threshold=0)
    with pytest.raises(ValueError, match="broken"):
        override_circuit("payments", state="broken")


def test_the_fixture_for_memory(circuits_in_memory: None) -> None:
    assert call("payments") == "made"


def test_the_fixture_for_a_state(override_circuit: Callable[..., None]) -> None:
    override_circuit("payments", state="open")
    override_circuit("rates", state="half_open")
    assert (call("payments"), call("rates")) == ("refused", "made")
