"""The model of a fleet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.cases.fleet import Model

MODEL = Model(snapshot=0.2, flush=5.0, delay=10.0, tally=2, refusals=1, change=3, claim=1)


@pytest.mark.parametrize(("processes", "statements"), [(1, 5.4), (8, 43.2), (64, 345.6)])
def test_a_healthy_fleet_reads_and_writes_tallies(processes: int, statements: float) -> None:
    assert MODEL.healthy(processes) == pytest.approx(statements)


def test_an_outage_adds_a_trial_for_each_delay_and_refusals_to_each_flush() -> None:
    assert MODEL.outage(1) == pytest.approx(5.4 + 0.6 + 0.2)  # two changes, and the refusals
    assert MODEL.outage(8) == pytest.approx(43.2 + 1.3 + 1.6)  # and seven claims that come too late


def test_a_flush_writes_the_refusals_of_all_openings_since_the_last_one() -> None:
    hasty = replace(MODEL, delay=1.0)
    assert hasty.outage(1) == pytest.approx(5.4 + 6 + 1)


def test_circuits_add_tallies_and_trials_and_no_read() -> None:
    assert MODEL.healthy(8, 20) == pytest.approx(8 * (5 + 8))
    assert MODEL.outage(8, 20) == pytest.approx(8 * (5 + 8) + 20 * (1.3 + 1.6))
