"""A throttled circuit, through whole calls on a real database."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

import circuits
from circuits.core.throttle import share_of
from circuits.models import Circuit
from circuits.process import gate, runtime
from circuits.reports.readings import read_circuits
from circuits.storage.rows import policy_of, status_of
from tests.calls import play
from tests.concurrency import in_processes
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    gate.random.seed(11)


def throttle(**policy: Any) -> str:
    policy = {"minimum_calls": 4, "failure_rate": 0.5, **policy}
    return CircuitFactory.create(strategy="throttle", **policy).name


def row(name: str) -> Circuit:
    return Circuit.objects.get(name=name)


def others(name: str, outcomes: str) -> None:
    """Have these outcomes come from a process that ends then."""
    play(name, outcomes)
    circuits.flush()
    runtime.forget()


def throttle_of(name: str) -> float:
    """Return the share of calls that the circuit's row asks to refuse."""
    (reading,) = (each for each in read_circuits() if each.circuit.name == name)
    return share_of(status_of(reading.circuit).window, policy_of(reading.circuit), reading.now)


def refused(outcomes: str) -> float:
    """Return the share of calls that were refused."""
    return outcomes.count("r") / len(outcomes)


def test_failures_in_a_row_are_throttled_at_once_and_never_open_it() -> None:
    name = throttle(threshold=1)
    outcomes = play(name, "f" * 400)
    assert outcomes[:4] == "ffff"
    assert refused(outcomes[20:]) == pytest.approx(0.9, abs=0.05)
    assert (row(name).state, row(name).transitions.count()) == ("closed", 0)


def test_a_share_is_refused_once_it_is_known() -> None:
    name = throttle()
    assert "r" not in play(name, ".fff" * 25)  # never enough of them in a row
    circuits.flush()
    assert refused(play(name, ".fff" * 250)) == pytest.approx(0.5, abs=0.08)
    assert row(name).state == "closed"


def test_what_another_process_says_counts() -> None:
    name = throttle(minimum_calls=50)
    others(name, ".fff" * 25)
    assert refused(play(name, "." * 40)) == pytest.approx(0.5, abs=0.2)


def test_one_broken_process_throttles_nobody_else() -> None:
    name = throttle()
    play(name, "." * 5)
    in_processes(1, "fail", name=name, count=200)
    circuits.flush()
    assert throttle_of(name) > 0.3
    assert play(name, "." * 50) == "." * 50


def test_it_returns_when_the_remote_does() -> None:
    name = throttle(window_calls=20)
    play(name, "f" * 100)
    outcomes = play(name, "." * 600)
    circuits.flush()
    assert "r" in outcomes
    assert play(name, "." * 20) == "." * 20


def test_a_success_asks_nothing_of_the_database(django_assert_num_queries: Any) -> None:
    name = throttle()
    play(name, ".")
    with django_assert_num_queries(0, connection=connections["circuits"]):
        play(name, "....")


def test_a_refusal_asks_nothing_of_the_database(
    settings: Settings, django_assert_num_queries: Any
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 60}
    name = throttle()
    play(name, "f" * 20)
    with django_assert_num_queries(0, connection=connections["circuits"]):
        assert "r" in play(name, "." * 20)


def test_calls_that_are_only_observed_pass_and_are_counted() -> None:
    name = throttle(enforce_share=0)
    assert play(name, "f" * 100) == "f" * 100
    circuits.flush()
    assert row(name).total_refusals > 50


def test_refusals_are_counted_and_rank_it() -> None:
    name = throttle()
    outcomes = play(name, "f" * 100)
    circuits.flush()
    circuit = row(name)
    assert circuit.total_refusals == outcomes.count("r")
    assert circuit.refused_at is not None


def test_a_failure_writes_no_more_than_under_another_strategy(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 60}
    name = throttle(minimum_calls=10, max_throttle=0.01)
    play(name, ".")
    with CaptureQueriesContext(connections["circuits"]) as queries:
        outcomes = play(name, "ff." * 100)
    assert len(queries) == outcomes.count("f")  # one UPDATE each, and no merge
