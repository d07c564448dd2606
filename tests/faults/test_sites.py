"""No false alarm, no late alarm: simulated sites compared with a perfect counter, and a real one.

The simulations are some of those that ``python -m tests.faults.simulation`` makes for the docs.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from itertools import chain

import pytest

from circuits.core.policy import Strategy
from circuits.models import Transition
from tests.concurrency import in_processes
from tests.factories import CircuitFactory
from tests.faults.sites import Setting, alone, openings, outages, partial

#: The simulated row is on no database, so one run on any database is enough.
simulated = pytest.mark.skipif(
    os.environ["TEST_DATABASE"] != "sqlite", reason="simulated without a database"
)
on_postgres = pytest.mark.skipif(
    os.environ["TEST_DATABASE"] != "postgres", reason="what is simulated is repeated on PostgreSQL"
)

#: Seconds by which a busy machine may be late.
MARGIN = 2.0

_BUSY = Setting(processes=64, calls_per_second=60, failure_share=0.05, call_seconds=1)

#: The sites, each with the number of calls to simulate.
SITES = {
    "one process": (Setting(processes=1, calls_per_second=100, failure_share=0.2), 30_000),
    "few calls": (Setting(processes=8, calls_per_second=10, failure_share=0.2), 60_000),
    "many processes": (Setting(processes=64, calls_per_second=1000, failure_share=0.1), 100_000),
    "very many calls": (Setting(processes=256, calls_per_second=4000, failure_share=0.1), 60_000),
    "hardly a failure": (Setting(processes=16, calls_per_second=1000, failure_share=0.01), 30_000),
    "slow calls": (_BUSY, 30_000),
    "slow calls, no snapshots": (replace(_BUSY, snapshot_seconds=0), 30_000),
    "by the rate": (
        Setting(processes=8, calls_per_second=1000, failure_share=0.3, strategy=Strategy.RATE),
        60_000,
    ),
}


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "circuits")


@simulated
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_throttling_loses_less_of_what_a_remote_in_part_still_answers(share: float) -> None:
    found = {
        strategy: partial(
            Setting(processes=4, calls_per_second=20, strategy=strategy), share, seconds=120
        )
        for strategy in Strategy
    }
    throttled = found.pop(Strategy.THROTTLE)
    assert throttled.good_lost is not None
    assert throttled.bad_made > 1 - share  # it makes some calls, whatever fails
    for other in found.values():
        assert other.good_lost is not None
        assert throttled.good_lost <= other.good_lost + 0.01


@simulated
def test_one_broken_process_throttles_none_of_the_others() -> None:
    site = Setting(processes=8, broken=1, calls_per_second=100, strategy=Strategy.THROTTLE)
    found = alone(replace(site, failure_rate=0.05), seconds=120)
    assert found.openings == 0
    # By the fleet's window alone it would be 8 %. A process has to make some calls before it knows.
    assert found.refused < 0.01


@simulated
@pytest.mark.parametrize("site", SITES)
def test_chance_opens_at_most_twice_as_often_as_a_perfect_counter(site: str) -> None:
    """Promise: no false alarm. Where a perfect counter never opens, neither does a circuit."""
    found = openings(*SITES[site])
    assert found.ours <= 2 * found.perfect


@simulated
@pytest.mark.parametrize("broken", [1, 2])
@pytest.mark.parametrize("snapshot_seconds", [0.2, 0])
def test_broken_processes_open_nothing_for_the_others(broken: int, snapshot_seconds: float) -> None:
    """Promise: one broken process never opens a circuit for the others."""
    setting = Setting(
        processes=8,
        broken=broken,
        calls_per_second=160,
        failure_share=0.01,
        delay=2,
        snapshot_seconds=snapshot_seconds,
    )
    found = alone(setting, seconds=20)
    assert found.openings == 0
    assert found.refused <= 0.01
    assert found.let_through <= 20


@simulated
def test_one_process_is_a_perfect_counter() -> None:
    found = openings(*SITES["one process"])
    assert found.ours == found.perfect > 0


@simulated
def test_few_calls_are_counted_as_by_a_perfect_counter_over_all_processes() -> None:
    found = openings(*SITES["few calls"])
    assert found.ours == pytest.approx(found.perfect, rel=0.2)


@simulated
@pytest.mark.parametrize("processes", [1, 8, 64])
@pytest.mark.parametrize("calls_per_second", [10, 1000])
def test_a_full_outage_opens_as_soon_as_the_run_can_be_believed(
    processes: int, calls_per_second: int
) -> None:
    """Promise: no late alarm. It takes as many calls as a perfect counter, or SNAPSHOT_SECONDS."""
    setting = Setting(processes=processes, calls_per_second=calls_per_second)
    for seed in range(5):
        ours, perfect = outages(setting, healthy_seconds=1, seed=seed)
        assert perfect.calls == 5
        # The first failure after the run is old enough convicts it.
        assert ours.seconds <= max(perfect.seconds, 0.2) + 10 / calls_per_second
        if processes == 1:
            assert ours == perfect


@simulated
def test_a_full_outage_opens_by_the_rate_within_a_flush_of_a_perfect_counter() -> None:
    setting = Setting(processes=8, calls_per_second=100, strategy=Strategy.RATE)
    ours, perfect = outages(setting, healthy_seconds=65)
    assert abs(ours.seconds - perfect.seconds) <= setting.flush_seconds


# For real ----------------------------------------------------------------------------------------


@on_postgres
@pytest.mark.services
@pytest.mark.usefixtures("committed")
def test_real_processes_open_as_often_as_simulated_ones() -> None:
    """Promise: the results of the simulation hold for real processes on a real database."""
    # So many failures that two processes often have five in a row at about the same time.
    setting = Setting(processes=8, calls_per_second=400, failure_share=0.8, delay=0.1)
    model = openings(setting, calls=20_000)
    failed_at, opened_at = _real(setting, [[12.0, setting.failure_share]])
    expected = model.ours / model.failures
    assert expected / 3 < len(opened_at) / len(failed_at) < expected * 3


@on_postgres
@pytest.mark.services
@pytest.mark.usefixtures("committed")
def test_real_processes_open_in_an_outage_as_soon_as_simulated_ones() -> None:
    setting = Setting(processes=8, calls_per_second=400, delay=60)
    models = [outages(setting, healthy_seconds=1, seed=seed)[0] for seed in range(20)]
    failed_at, opened_at = _real(setting, [[1.0, 0.0], [2.0, 1.0]])
    assert len(opened_at) == 1
    assert opened_at[0] - failed_at[0] <= max(each.seconds for each in models) + MARGIN
    most = max(each.calls + each.after for each in models)
    assert 5 <= len(failed_at) <= most + MARGIN * setting.calls_per_second / 10


def _real(setting: Setting, phases: list[list[float]]) -> tuple[list[float], list[float]]:
    """Let real processes call; return the moments of failures and of openings."""
    CircuitFactory(name="payments", delay=setting.delay)
    failed_at = in_processes(
        setting.processes,
        "pace",
        name="payments",
        calls_per_second=setting.calls_per_second / setting.processes,
        phases=phases,
    )
    opened = Transition.objects.filter(from_state="closed").order_by("generation")
    return sorted(chain.from_iterable(failed_at)), [each.at.timestamp() for each in opened]
