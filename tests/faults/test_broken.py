"""A process that cannot reach a healthy remote does not open the circuit for the others."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from circuits.models import Circuit
from tests.concurrency import let_go, result_of, start_worker
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")

#: How many processes can reach the remote, beside the one that cannot.
WELL = 3

#: The largest share of the others' calls that may be refused. If the circuit opened for all, it
#: would be nine of ten; an opening that slips through on a busy machine is refuted at once.
MOST_REFUSED = 0.25


@pytest.mark.parametrize("snapshot_seconds", [0.2, 0])
def test_one_broken_process_opens_nothing_for_the_others(
    settings: Settings, snapshot_seconds: float
) -> None:
    """Promise: one broken process never opens a circuit for the others; its refusals say so."""
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": snapshot_seconds}
    CircuitFactory.create(name="payments", delay=60)
    well = [start_worker("succeed_beside", name="payments") for _ in range(WELL)]
    broken = start_worker("fail_alone", name="payments")
    try:
        let_go(*well, broken)
        let_go(*well, broken, at="well")
        alone = result_of(broken)
        let_go(*well, at="calling")
        others = [result_of(worker) for worker in well]
    finally:
        for worker in (*well, broken):
            worker.kill()
    made = sum(each["made"] for each in others)
    refused = sum(each["refused"] for each in others)
    assert made > WELL
    assert refused <= MOST_REFUSED * (made + refused)
    assert sum(each["alone"] for each in others) == 0
    assert alone["alone"] > 0
    assert alone["made"] <= Circuit.objects.get().threshold


@pytest.mark.parametrize("snapshot_seconds", [0.2, 0])
def test_in_a_full_outage_each_process_makes_at_most_threshold_calls(
    settings: Settings, snapshot_seconds: float
) -> None:
    """Promise: a process that has seen ``threshold`` failures in a row makes no further call.

    All is well at first and the others have few calls, so that the circuit opens for all only when
    the run of the busy one has become old enough to be believed.
    """
    keys = {"SNAPSHOT_SECONDS": snapshot_seconds, "FLUSH_SECONDS": 0.1}
    settings.CIRCUITS = {**settings.CIRCUITS, **keys}
    CircuitFactory.create(name="payments", delay=60)
    phases = [[0.5, 0.0], [1.5, 1.0]]
    workers = [
        start_worker("pace", name="payments", calls_per_second=rate, phases=phases)
        for rate in (200, 4, 4, 4)
    ]
    try:
        let_go(*workers)
        made = [len(result_of(worker)) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    threshold = Circuit.objects.get().threshold
    assert max(made) <= threshold <= sum(made)
