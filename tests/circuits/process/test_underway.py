"""The set of the calls under way: when they are checked, and who settles them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from circuits.core.policy import Policy
from circuits.core.status import Permit, Status
from circuits.process.underway import PAUSE, Underway, keeps_lease, next_look
from circuits.storage.contract import Snapshot
from tests.concurrency import in_threads

FOREVER = float("inf")


class Call:
    look_at = FOREVER


def test_each_call_is_due_at_its_moment() -> None:
    underway: Underway[Call] = Underway()
    early, late = Call(), Call()
    underway.add(late, 20.0)
    underway.add(early, 10.0)
    assert [underway.due(now) for now in (9.9, 10.0, 20.0)] == [[], [early], [late, early]]
    assert underway.next_look() == 10.0
    early.look_at = FOREVER
    assert underway.next_look() == 20.0
    assert underway.take(late)
    assert (underway.due(1000.0), underway.next_look()) == ([], FOREVER)


def test_somebody_is_told_when_to_look() -> None:
    looks: list[float] = []
    underway: Underway[Call] = Underway(looks.append)
    underway.add(Call(), 20.0)
    underway.add(Call(), 10.0)
    assert looks == [20.0, 10.0]


def test_of_many_that_take_a_call_out_one_reports_it() -> None:
    underway: Underway[Call] = Underway()
    for _ in range(50):
        call = Call()
        underway.add(call, 0.0)
        assert sum(in_threads(4, lambda index, call=call: underway.take(call))) == 1  # type: ignore[misc]


def test_a_forked_child_leaves_its_parents_calls_to_the_parent() -> None:
    underway: Underway[Call] = Underway()
    call = Call()
    underway.add(call, 0.0)
    underway.forget()
    assert (underway.due(1.0), underway.take(call)) == ([], False)


# When the pulse looks at a call


@dataclass
class Made:
    """A call that began at 100."""

    permit: Permit
    paused_at: float = 0.0
    is_counted: bool = False
    started_at: float = 100.0
    look_at: float = FOREVER


def known(slow_call_seconds: float = 0.0) -> Snapshot:
    """Return a snapshot of the generation 4, in which a trial's lease lasts 30 seconds."""
    return Snapshot(
        name="payments",
        status=Status(generation=4),
        policy=Policy(slow_call_seconds=slow_call_seconds, lease_seconds=30),
        timeout=10.0,
        failure_statuses=None,
        now=5_000.0,
        read_at=100.0,
        known_at=100.0,
    )


CALL, TRIAL, OLD_TRIAL = Permit(4), Permit(4, "token"), Permit(3, "token")


@pytest.mark.parametrize(
    ("call", "slow", "now", "at"),
    [
        (Made(CALL), 0, 100, FOREVER),
        (Made(CALL), 2, 100, 102),
        (Made(CALL), 2, 101.99, 101.99 + PAUSE),
        (Made(CALL), 2, 150, 150 + PAUSE),
        (Made(CALL), 0.5, 100, 100.5),
        (Made(CALL, paused_at=101), 2, 101, FOREVER),
        (Made(CALL, is_counted=True), 2, 101, FOREVER),
        (Made(TRIAL), 0, 100, 110),
        (Made(TRIAL), 0, 120, 130),
        (Made(TRIAL), 2, 100, 102),
        (Made(TRIAL), 60, 100, 110),
        (Made(TRIAL, paused_at=101), 2, 101, 111),
        (Made(OLD_TRIAL), 0, 100, FOREVER),
        (Made(TRIAL), 0, 399.75, 409.75),
        (Made(TRIAL), 0, 400, FOREVER),
        (Made(TRIAL, is_counted=True), 0, 100, FOREVER),
    ],
)
def test_the_pulse_looks_when_a_call_becomes_slow_or_a_trial_needs_its_lease(
    call: Made, slow: float, now: float, at: float
) -> None:
    assert next_look(call, known(slow), now) == pytest.approx(at)


def test_without_a_snapshot_there_is_nothing_to_look_for() -> None:
    assert next_look(Made(TRIAL), None, 100) == FOREVER
    assert not keeps_lease(Made(TRIAL), None, 100)


@pytest.mark.parametrize(
    ("permit", "now", "keeps"),
    [(TRIAL, 399.75, True), (TRIAL, 400, False), (CALL, 101, False), (OLD_TRIAL, 101, False)],
)
def test_a_trial_keeps_its_lease_for_ten_of_them(permit: Permit, now: float, keeps: bool) -> None:
    assert keeps_lease(Made(permit), known(), now) == keeps
