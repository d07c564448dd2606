"""Injected faults: what happens to a call, until when, and how they begin and end."""

from __future__ import annotations

from dataclasses import replace
from math import nan, nextafter

import pytest

from circuits.core import machine
from circuits.core.injection import Fault, Injection, under_way
from circuits.core.policy import Policy
from circuits.core.status import Failure, Mode, Permit, Reason, State, Status

NOW = 1_764_000_000.0
HALF = Injection(failures=0.5, delay=2.0, until=NOW + 600)


@pytest.mark.parametrize(
    ("failures", "delay", "chance", "fault"),
    [
        (0.5, 0.0, 0.49, Fault(fails=True)),
        (0.5, 0.0, 0.5, None),
        (0.5, 2.0, 0.49, Fault(fails=True)),
        (0.5, 2.0, 0.5, Fault(fails=False, delay=2.0)),
        (0.0, 2.0, 0.0, Fault(fails=False, delay=2.0)),
        (0.0, 0.25, 0.0, Fault(fails=False, delay=0.25)),
        (1.0, 0.0, 0.999, Fault(fails=True)),
        # Rows that were written past every check.
        (7.0, 0.0, 0.999, Fault(fails=True)),
        (0.0, 1e9, 0.0, Fault(fails=False, delay=60.0)),
        (0.0, -1.0, 0.0, None),
        (nan, nan, 0.0, None),
    ],
)
def test_chance_decides_which_calls_fail_and_the_others_are_late(
    failures: float, delay: float, chance: float, fault: Fault | None
) -> None:
    assert Injection(failures, delay, NOW + 60).fault(NOW, chance) == fault


def test_it_ends_by_itself() -> None:
    assert HALF.fault(nextafter(HALF.until, 0), 0.0) == Fault(fails=True)
    assert HALF.fault(HALF.until, 0.0) is None
    assert under_way(HALF, HALF.until - 1) is HALF
    assert under_way(HALF, HALF.until) is None
    assert under_way(None, NOW) is None


def test_a_clock_that_was_set_back_ends_it_rather_than_prolonging_it() -> None:
    an_hour = Injection(1.0, 0.0, NOW + 3600)
    assert an_hour.is_under_way(NOW)
    assert not an_hour.is_under_way(NOW - 60)
    # The clock of a server that replaces another may differ by as much.
    assert an_hour.is_under_way(NOW - 1)
    assert not an_hour.is_under_way(NOW - 1.1)


@pytest.mark.parametrize(
    ("failures", "delay", "words"),
    [
        (0.5, 0.0, "50% fail"),
        (1.0, 0.0, "100% fail"),
        (0.125, 0.0, "12.5% fail"),
        (0.5, 2.0, "50% fail, the others are 2 s late"),
        (0.0, 0.25, "all are 0.25 s late"),
    ],
)
def test_the_history_says_what_it_does(failures: float, delay: float, words: str) -> None:
    assert Injection(failures, delay, NOW).words == words


# In the machine --------------------------------------------------------------------------------


def test_to_inject_changes_neither_state_nor_mode_and_begins_a_generation() -> None:
    before = Status(generation=4, mode=Mode.OBSERVE, mode_until=NOW + 9, failure_count=2)
    step = machine.inject(before, HALF, NOW)
    after, change = step.status, step.change
    assert (after.state, after.mode, after.generation) == ("closed", "observe", 5)
    assert (after.injection, after.failure_count, after.mode_until) == (HALF, 2, NOW + 9)
    assert after == replace(before, generation=5, injection=HALF, changed_at=NOW)
    assert change is not None
    assert (change.reason, change.until, change.generation) == (Reason.INJECTION, HALF.until, 5)
    assert change.at == NOW


def test_outcomes_from_before_do_not_count_after() -> None:
    policy = Policy(threshold=1)
    injected = machine.inject(Status(), HALF, NOW).status
    late = machine.fail(injected, policy, Permit(0), NOW, Failure())
    assert late.status is injected
    now = machine.fail(injected, policy, Permit(1), NOW, Failure())
    assert now.status.state is State.OPEN
    assert now.status.injection == HALF
    ended = machine.inject(now.status, None, NOW + 1)
    assert (ended.status.state, ended.status.injection) == ("open", None)
    assert ended.status.retry_at == now.status.retry_at


def test_to_end_it_is_a_change_only_while_it_goes_on() -> None:
    injected = machine.inject(Status(), HALF, NOW).status
    step = machine.inject(injected, None, NOW + 1)
    assert step.status.injection is None
    assert step.change is not None
    assert (step.change.reason, step.change.until) == (Reason.INJECTION, None)
    assert machine.inject(injected, None, HALF.until).status is injected
    fresh = Status()
    assert machine.inject(fresh, None, NOW).status is fresh


def test_it_goes_on_in_memory_on_the_clock_of_the_process() -> None:
    injected = machine.inject(Status(), HALF, NOW).status
    alone = machine.in_memory(injected, 100 - NOW)
    assert alone.injection == Injection(0.5, 2.0, 700)
    assert machine.in_memory(Status(), 100).injection is None
