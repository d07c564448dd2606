"""The model of a fleet."""

from __future__ import annotations

import pytest

from bench.cases.fleet import Model

MODEL = Model(snapshot=0.2, flush=5.0, delay=10.0, change=3, claim=1)


@pytest.mark.parametrize(("processes", "statements"), [(1, 5.2), (8, 41.6), (64, 332.8)])
def test_a_healthy_fleet_reads_and_writes_tallies(processes: int, statements: float) -> None:
    assert MODEL.healthy(processes) == pytest.approx(statements)


def test_an_outage_adds_a_trial_for_each_delay() -> None:
    assert MODEL.outage(1) == pytest.approx(5.2 + 0.6)  # two changes
    assert MODEL.outage(8) == pytest.approx(41.6 + 1.3)  # and seven claims that come too late


def test_circuits_add_tallies_and_trials_and_no_read() -> None:
    assert MODEL.healthy(8, 20) == pytest.approx(8 * (5 + 4))
    assert MODEL.outage(8, 20) == pytest.approx(8 * (5 + 4) + 20 * 1.3)
