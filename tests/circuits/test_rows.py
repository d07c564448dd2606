"""What a row says, and what is made of one that says what cannot be."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits import breaker, rows
from circuits.machine import POLICY_LIMITS, Lease, Mode, Policy, State, Status, Step
from circuits.models import Circuit
from circuits.store import DatabaseStore
from circuits.windows import Bucket, Window
from tests.calls import fail, refusal, succeed
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")

#: A limit and something beyond it, for each number of a policy.
BEYOND = [
    *((name, limits.least - 1) for name, limits in POLICY_LIMITS.items()),
    *((name, limits.most + 1) for name, limits in POLICY_LIMITS.items()),
]


@pytest.fixture(autouse=True)
def _nothing_said_yet() -> None:
    rows._complain_once.cache_clear()


def spoil(**values: Any) -> None:
    """Write values past every check."""
    CircuitFactory.create(name="payments")
    Circuit.objects.update(**values)


@pytest.mark.parametrize(("name", "value"), BEYOND)
def test_a_policy_value_that_cannot_be_is_mended_and_named(
    caplog: pytest.LogCaptureFixture, name: str, value: float
) -> None:
    spoil(**{name: value})
    succeed("payments", 2)
    breaker.forget()
    succeed("payments")
    known = breaker.gate("payments").snapshot
    assert known is not None
    assert known.policy == Policy()
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert line.startswith(f"The row of the circuit payments: {name} must be ")
    assert line.endswith("The default is used instead.")


def test_the_other_values_of_a_spoilt_policy_count() -> None:
    spoil(threshold=2, delay=-1)
    fail("payments", 2)
    assert refusal("payments").retry_after == pytest.approx(10, abs=0.5)


def test_a_strategy_that_does_not_exist_is_mended_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoil(strategy="luck")
    fail("payments", 5)
    refusal("payments")
    assert "The row of the circuit payments: strategy must be" in caplog.text


@pytest.mark.parametrize("value", [-1, 0, 1e9])
def test_a_timeout_that_cannot_be_is_mended_and_named(
    caplog: pytest.LogCaptureFixture, value: float
) -> None:
    spoil(timeout=value)
    succeed("payments")
    assert breaker.gate("payments").timeout == 10
    assert "The row of the circuit payments: timeout must be a number" in caplog.text


@pytest.mark.skipif(connection.vendor != "postgresql", reason="the others cannot store it")
def test_not_a_number_is_mended_too() -> None:
    spoil(delay=math.nan)
    fail("payments", 5)
    assert refusal("payments").retry_after == pytest.approx(10, abs=0.5)


@pytest.mark.parametrize("name", ["delay", "timeout", "failure_rate"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_form_takes_no_number_that_is_none(name: str, value: float) -> None:
    circuit = CircuitFactory.create(name="payments")
    setattr(circuit, name, value)
    with pytest.raises(ValidationError) as refused:
        circuit.full_clean()
    assert list(refused.value.message_dict) == [name]


moment = st.integers(0, 4_000_000_000).map(float)
moments = st.none() | moment

statuses = st.builds(
    Status,
    state=st.sampled_from(State),
    mode=st.sampled_from(Mode),
    generation=st.integers(0, 2**62),
    failure_count=st.integers(0, 2**31 - 1),
    run_started_at=moments,
    opened_at=moments,
    retry_at=moment,
    reopen_count=st.integers(0, 2**31 - 1),
    trial_successes=st.integers(0, 2**31 - 1),
    leases=st.lists(st.builds(Lease, st.uuids().map(str), st.floats(0, 4e9)), max_size=3).map(
        tuple
    ),
    recovered_at=moments,
    window=st.builds(
        Window,
        st.lists(st.builds(Bucket, *[st.integers(0, 10**9)] * 4), max_size=3).map(tuple),
        st.text("gfs", max_size=5),
    ),
    changed_at=moments,
)


@settings(max_examples=30, deadline=None)
@given(status=statuses)
def test_a_status_is_read_as_it_was_written(status: Status) -> None:
    Circuit.objects.all().delete()
    CircuitFactory.create(name="payments")
    store = DatabaseStore()
    store.change("payments", lambda row: Step(status))
    assert store.read("payments").status == status
