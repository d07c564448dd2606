"""Reading rows, including those with impossible values."""

from __future__ import annotations

import logging
import math
from contextlib import nullcontext
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from circuits.core.injection import Injection
from circuits.core.policy import POLICY_LIMITS, Policy
from circuits.core.status import Lease, Mode, Quarantine, State, Status, Step
from circuits.core.windows import Bucket, Window
from circuits.models import Circuit
from circuits.process import runtime
from circuits.storage.database import DatabaseStore
from circuits.storage.rows import injection_of, status_of
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
processes = st.sampled_from(["", "one", "another"])

statuses = st.builds(
    Status,
    state=st.sampled_from(State),
    mode=st.sampled_from(Mode),
    generation=st.integers(0, 2**62),
    failure_count=st.integers(0, 2**31 - 1),
    run_started_at=moments,
    opened_at=moments,
    down_since=moments,
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
    mode_until=moments,
    run_by=processes,
    accuser=processes,
    quarantines=st.lists(
        st.builds(Quarantine, processes, moment, moment, st.integers(0, 99), st.just("token")),
        max_size=2,
    ).map(tuple),
    succeeded_by=processes,
    other_succeeded_at=moments,
    injection=st.none() | st.builds(Injection, st.floats(0, 1), st.floats(0, 60), moment),
)


@settings(max_examples=30, deadline=None)
@given(status=statuses)
def test_a_status_is_read_as_it_was_written(status: Status) -> None:
    Circuit.objects.all().delete()
    CircuitFactory.create(name="payments")
    store = DatabaseStore()
    store.change("payments", lambda row: Step(status))
    assert store.read("payments").status == status


# Times without a time zone ------------------------------------------------------------------------


def local(hour: int, minute: int) -> datetime:
    """Return a local time of the day on which clocks in Amsterdam repeat the hour after two."""
    return datetime(2026, 10, 25, hour, minute, tzinfo=UTC).replace(tzinfo=None)


#: Half past two, which comes twice.
HALF_PAST_TWO = local(2, 30)
FIRST = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
SECOND = FIRST + 3600


@pytest.fixture
def _local_time(settings: Settings) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Europe/Amsterdam"


def read_at(now: float, **values: Any) -> Any:
    """Return a row as it is read at a time of the database's clock."""
    row = Circuit(name="payments", **values)
    row.db_now = round(now * 1_000_000)  # type: ignore[attr-defined]
    return row


@pytest.mark.usefixtures("_local_time")
@pytest.mark.parametrize(
    ("column", "attribute"),
    [
        ("run_started_at", "run_started_at"),
        ("opened_at", "opened_at"),
        ("down_since", "down_since"),
        ("recovered_at", "recovered_at"),
        ("state_changed_at", "changed_at"),
        ("last_success_at", "last_success_at"),
        ("other_succeeded_at", "other_succeeded_at"),
    ],
)
def test_what_has_been_was_as_late_as_it_can_have_been(column: str, attribute: str) -> None:
    for now, moment in ((SECOND + 1, SECOND), (SECOND - 1, FIRST)):
        status = status_of(read_at(now, **{column: HALF_PAST_TWO}))
        assert getattr(status, attribute) == moment


@pytest.mark.usefixtures("_local_time")
@pytest.mark.parametrize(
    ("column", "since"),
    [
        ("retry_at", "opened_at"),
        ("mode_until", "state_changed_at"),
        ("injected_until", "state_changed_at"),
    ],
)
def test_what_is_to_come_is_not_before_it_was_decided(column: str, since: str) -> None:
    def end(began: datetime | None) -> float | None:
        status = status_of(read_at(SECOND + 1200, **{column: HALF_PAST_TWO, since: began}))
        if column == "injected_until":
            return None if status.injection is None else status.injection.until
        return status.retry_at if column == "retry_at" else status.mode_until

    assert end(local(2, 45)) == SECOND
    assert end(local(1, 45)) == FIRST
    assert end(None) == FIRST


# Injected faults ----------------------------------------------------------------------------------


def test_injected_faults_are_found_while_they_go_on(settings: Settings) -> None:
    until = datetime(2026, 10, 25, tzinfo=UTC)
    end = until.timestamp()
    faults = {"injected_failures": 0.5, "injected_delay": 2.0, "injected_until": until}
    settings.CIRCUITS = {**settings.CIRCUITS, "ALLOW_INJECTION": True}
    assert injection_of(read_at(end - 60, **faults)) == Injection(0.5, 2.0, end)
    assert injection_of(read_at(end, **faults)) is None
    assert injection_of(read_at(end - 60)) is None
    settings.CIRCUITS = {**settings.CIRCUITS, "ALLOW_INJECTION": False}
    assert injection_of(read_at(end - 60, **faults)) is None
