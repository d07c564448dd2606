"""``manage.py circuits forecast``: forecasts a policy, and values to try."""

from __future__ import annotations

import json
from time import time

import pytest

from circuits.models import Circuit, Minute
from tests.commands import shell
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def payments() -> Circuit:
    circuit = CircuitFactory.create(name="payments")
    now = int(time() // 60)
    Minute.objects.bulk_create(
        Minute(circuit=circuit, minute=now - ago, successes=118, failures=2) for ago in range(60)
    )
    return circuit


def test_the_policy_and_its_forecast_are_told(payments: Circuit) -> None:
    ended = shell("circuits", "forecast", "payments")
    assert ended.status == 0
    first, policy, *rest = ended.out.splitlines()
    assert first.startswith("In the last day 7,200 calls were made")
    assert policy.startswith("It opens after 5 failures in a row.")
    assert all(line.startswith("- ") for line in rest)
    assert "opens after about 5 calls" in rest[0]


def test_other_values_are_told_beside_them_and_nothing_is_saved(payments: Circuit) -> None:
    ended = shell(
        "circuits", "forecast", "payments", "threshold=3", "lease-seconds=2", "failure_rate=30%"
    )
    assert ended.status == 0
    as_it_is, with_these = ended.out.split("With these values:")
    assert "It opens after 5 failures" in as_it_is
    assert "It opens after 3 failures" in with_these
    assert "! The trial lease (2 s) is shorter than the timeout (10 s)" in with_these
    assert "!" not in as_it_is
    payments.refresh_from_db()
    assert (payments.threshold, payments.lease_seconds) == (5, 30)


def test_a_rate_may_be_given_in_percent(payments: Circuit) -> None:
    ended = shell("circuits", "forecast", "payments", "strategy=rate", "failure_rate=30%")
    assert "It opens when 30 % of the calls" in ended.out


def test_the_numbers_as_json(payments: Circuit) -> None:
    values = json.loads(shell("circuits", "forecast", "payments", "threshold=3", "--json").out)
    assert values["traffic"]["calls"] == 7_200
    assert values["now"]["outage"]["calls"] == pytest.approx(5, rel=0.05)
    assert values["changed"]["outage"]["calls"] == pytest.approx(3, rel=0.05)
    starved = shell(
        "circuits", "forecast", "payments", "strategy=rate", "window_seconds=1", "--json"
    )
    assert json.loads(starved.out)["changed"]["outage"] is None
    assert json.loads(starved.out)["changed"]["lost_before"] is None


def test_without_calls_only_the_policy_is_told() -> None:
    CircuitFactory.create(name="payments")
    ended = shell("circuits", "forecast", "payments")
    assert ended.out.splitlines() == [
        "No calls are kept, so nothing can be forecast.",
        "It opens after 5 failures in a row. Then it refuses calls for 10 s before it tries again. "
        "It closes after 1 successful trial.",
    ]
    assert json.loads(shell("circuits", "forecast", "payments", "--json").out) == {"traffic": None}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("threshold=x", "threshold: “x” value must be an integer."),
        ("threshold=0", "threshold: Ensure this value is greater than or equal to 1."),
        ("failure_rate=many%", "failure_rate: could not convert"),
        ("delay=nan", "delay: Enter a number."),
        ("respect_retry_after=perhaps", "respect_retry_after: it must be yes or no"),
        ("strategy=luck", "strategy: Value 'luck' is not a valid choice."),
        ("state=open", "'state=open' is no FIELD=VALUE of a policy; fields are threshold, delay"),
        ("threshold", "threshold: “” value must be an integer."),
    ],
)
def test_a_bad_value_is_refused(payments: Circuit, change: str, said: str) -> None:
    ended = shell("circuits", "forecast", "payments", change)
    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err


def test_an_unknown_circuit_is_refused() -> None:
    assert "Unknown circuit: 'payments'" in shell("circuits", "forecast", "payments").err
