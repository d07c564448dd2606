"""Reading rows, including those with impossible values."""

from __future__ import annotations

import logging
import math
from contextlib import nullcontext
from itertools import count
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.core.policy import POLICY_LIMITS, Policy
from circuits.core.status import Lease, Mode, State, Status, Step
from circuits.core.windows import Bucket, Window
from circuits.models import Circuit
from circuits.process import runtime
from circuits.storage.database import DatabaseStore
from tests.calls import fail, refusal, succeed
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")

#: For each number of a policy, a limit and a value beyond it.
BEYOND = [
    *((name, limits.least - 1) for name, limits in POLICY_LIMITS.items()),
    *((name, limits.most + 1) for name, limits in POLICY_LIMITS.items()),
]


_numbers = count()


def circuit_with_unchecked(**values: Any) -> str:
    """Write unchecked values to a new circuit, and return its name, which no log line has named."""
    name = f"payments {next(_numbers)}"
    CircuitFactory.create(name=name)
    Circuit.objects.update(**values)
    return name


@pytest.mark.parametrize(("name", "value"), BEYOND)
def test_a_policy_value_that_cannot_be_is_mended_and_named(
    caplog: pytest.LogCaptureFixture, name: str, value: float
) -> None:
    spoilt = circuit_with_unchecked(**{name: value})
    succeed(spoilt, 2)
    runtime.forget()
    succeed(spoilt)
    known = runtime.gate(spoilt).snapshot
    assert known is not None
    assert known.policy == Policy()
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert line.startswith(f"The row of the circuit {spoilt}: {name} must be ")
    assert line.endswith("The default is used instead.")


def test_the_other_values_of_a_spoilt_policy_count() -> None:
    spoilt = circuit_with_unchecked(threshold=2, delay=-1)
    fail(spoilt, 2)
    assert refusal(spoilt).retry_after == pytest.approx(10, abs=0.5)


def test_a_strategy_that_does_not_exist_is_mended_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoilt = circuit_with_unchecked(strategy="luck")
    fail(spoilt, 5)
    refusal(spoilt)
    assert f"The row of the circuit {spoilt}: strategy must be" in caplog.text


@pytest.mark.parametrize("value", [-1, 0, 1e9])
def test_a_timeout_that_cannot_be_is_mended_and_named(
    caplog: pytest.LogCaptureFixture, value: float
) -> None:
    spoilt = circuit_with_unchecked(timeout=value)
    succeed(spoilt)
    assert runtime.gate(spoilt).view.timeout == 10
    assert f"The row of the circuit {spoilt}: timeout must be a number" in caplog.text


def test_a_timeout_of_when_it_could_be_longer_is_the_longest_that_it_can_be() -> None:
    spoilt = circuit_with_unchecked(timeout=900)
    succeed(spoilt)
    assert runtime.gate(spoilt).view.timeout == 300


@pytest.mark.parametrize(("value", "is_taken"), [(300, True), (300.5, False), (3600, False)])
def test_a_timeout_is_five_minutes_at_most(value: float, is_taken: bool) -> None:
    circuit = CircuitFactory.create(name="payments", timeout=value)
    with nullcontext() if is_taken else pytest.raises(ValidationError, match="timeout"):
        circuit.full_clean()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="the others cannot store it")
def test_not_a_number_is_mended_too() -> None:
    spoilt = circuit_with_unchecked(delay=math.nan)
    fail(spoilt, 5)
    assert refusal(spoilt).retry_after == pytest.approx(10, abs=0.5)


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
