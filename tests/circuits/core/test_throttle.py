"""The throttle strategy: the share of calls it refuses, alone and in the machine."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.core import machine, throttle, windows
from circuits.core.policy import Policy, Strategy
from circuits.core.status import Batch, Failure, Mode, Permit, Reason, State, Status, Witness
from circuits.core.windows import Counts, Outcome

NOW: Final = 1_000.0

numbers = st.integers(0, 2_000)
shares = st.floats(0.001, 1)
policies = st.builds(
    Policy,
    strategy=st.just(Strategy.THROTTLE),
    failure_rate=shares,
    slow_call_rate=shares,
    slow_call_seconds=st.sampled_from([0, 2]),
    max_throttle=st.floats(0.01, 0.99),
    minimum_calls=st.integers(1, 50),
)


def policy(**values: Any) -> Policy:
    return Policy(strategy=Strategy.THROTTLE, **values)


def status(
    good: int, failed: int, of: Policy | None = None, at: float = NOW, **more: Any
) -> Status:
    """Return a closed circuit with these calls in its window."""
    outcomes = Outcome.GOOD * good + Outcome.FAILED * failed
    counts = windows.counted(outcomes)
    merged = windows.merged(windows.EMPTY, of or policy(), NOW, counts, outcomes)
    return Status(window=merged, **more)


# The formula


@pytest.mark.parametrize(
    ("calls", "failures", "limit", "share"),
    [
        (99, 0, 0.5, 0.0),
        (100, 50, 0.5, 0.0),  # at the limit
        (99, 80, 0.5, 0.61),
        (99, 99, 0.5, 0.9),  # 0.99, but never more than the most
        (199, 100, 0.2, 0.37625),
        (99, 99, 1.0, 0.0),  # a limit that nothing passes
    ],
)
def test_the_share_grows_from_the_limit_on(
    calls: int, failures: int, limit: float, share: float
) -> None:
    asked = throttle.asked_by(policy(failure_rate=limit), calls, failures)
    assert asked == pytest.approx(share)


@given(policies, numbers, numbers, numbers)
def test_the_share_is_0_up_to_the_limit_and_at_most_the_most(
    policy: Policy, good: int, failures: int, slow: int
) -> None:
    calls = good + failures + slow
    asked = throttle.asked_by(policy, calls, failures, slow)
    assert 0 <= asked <= policy.max_throttle
    is_slow = policy.slow_call_seconds > 0 and slow > policy.slow_call_rate * calls
    assert (asked > 0) == (failures > policy.failure_rate * calls or is_slow)


@given(policies, numbers, numbers)
def test_one_more_failure_never_lowers_the_share_and_one_more_success_never_raises_it(
    policy: Policy, good: int, failures: int
) -> None:
    calls = good + failures
    asked = throttle.asked_by(policy, calls, failures)
    assert throttle.asked_by(policy, calls + 1, failures + 1) >= asked - 1e-12
    assert throttle.asked_by(policy, calls + 1, failures) <= asked + 1e-12


@given(numbers, numbers, st.floats(0.001, 0.99))
def test_it_is_the_formula_of_client_side_throttling(
    good: int, failures: int, limit: float
) -> None:
    calls, k = good + failures, 1 / (1 - limit)
    told = max(0.0, (calls - k * good) / (calls + 1))
    most = policy(failure_rate=limit, max_throttle=0.99)
    assert throttle.asked_by(most, calls, failures) == pytest.approx(min(told, 0.99), abs=1e-9)


def test_slow_calls_ask_for_it_where_there_are_any() -> None:
    assert throttle.asked_by(policy(slow_call_rate=0.2), 99, 0, 60) == 0
    slow = policy(slow_call_seconds=2, slow_call_rate=0.2)
    assert throttle.asked_by(slow, 4, 0) == 0
    assert throttle.asked_by(slow, 99, 0, 60) == pytest.approx((60 - 19.8) / 80)


# The window


@pytest.mark.parametrize("strategy", [Strategy.CONSECUTIVE, Strategy.RATE])
def test_other_strategies_throttle_nothing(strategy: Strategy) -> None:
    window = status(0, 100).window
    assert throttle.share_of(window, policy(), NOW) == 0.9
    assert throttle.share_of(window, Policy(strategy=strategy), NOW) == 0


def test_too_few_calls_ask_for_nothing() -> None:
    window = status(0, 9).window
    assert throttle.share_of(window, policy(minimum_calls=10), NOW) == 0
    assert throttle.share_of(window, policy(minimum_calls=9), NOW) > 0


def test_outcomes_that_are_too_old_ask_for_nothing_even_if_none_come_after_them() -> None:
    window = status(0, 100).window
    assert throttle.share_of(window, policy(window_seconds=60), NOW + 50) == 0.9
    assert throttle.share_of(window, policy(window_seconds=60), NOW + 60) == 0


def test_a_window_of_calls_does_not_grow_old() -> None:
    calls = policy(window_calls=20)
    window = status(5, 15, calls).window
    assert throttle.share_of(window, calls, NOW + 86_400) == pytest.approx(5 / 10.5)


# In the machine


def admitted(status: Status, policy: Policy, chance: float, **witness: Any) -> bool:
    admission = machine.admit(status, policy, NOW, "A", chance, Witness(process="p", **witness))
    assert admission.status is status  # nothing is to be written
    if admission.permit is None:
        assert admission.retry_after == machine.TRIAL_RETRY_SECONDS
    return admission.permit is not None


def test_a_call_is_refused_with_the_probability_that_is_asked_for() -> None:
    throttled = status(20, 79)  # (79 - 49.5) / 50
    assert admitted(throttled, policy(), 0.40)
    assert not admitted(throttled, policy(), 0.42)


def test_a_process_refuses_no_more_than_its_own_calls_ask_for() -> None:
    throttled = status(20, 79)
    assert admitted(throttled, policy(), 0.999, asked_share=0.0)
    assert admitted(throttled, policy(), 0.89, asked_share=0.1)
    assert not admitted(throttled, policy(), 0.91, asked_share=0.1)
    assert not admitted(throttled, policy(), 0.42, asked_share=0.9)


def test_it_goes_together_with_a_ramp_up() -> None:
    ramping = policy(ramp_up_seconds=10)
    throttled = status(20, 79, recovered_at=NOW - 5)
    share = machine.passing_share(throttled, ramping, NOW)
    assert share == pytest.approx(0.5 * (1 - 0.59))


def test_refusals_that_are_not_enforced_pass_and_are_told() -> None:
    observed = status(0, 100, mode=Mode.OBSERVE)
    admission = machine.admit(observed, policy(), NOW, "A", 0.99)
    assert admission.permit is not None
    assert not admission.permit.counts
    assert admission.retry_after is not None
    tenth = policy(enforce_share=0.1)
    outcomes = [machine.admit(status(0, 100), tenth, NOW, "A", n / 1000) for n in range(1000)]
    refused = sum(each.permit is None for each in outcomes)
    assert refused == pytest.approx(90, abs=1)


def outcome(status: Status, policy: Policy, is_good: bool, now: float) -> Status:
    permit = Permit(status.generation)
    if is_good:
        return machine.succeed(status, policy, permit, now, Witness(process="p")).status
    failure = Failure(own_run=100, witness=Witness(process="p"))
    return machine.fail(status, policy, permit, now, failure).status


@given(
    policies,
    st.lists(st.tuples(st.booleans(), st.floats(0, 5), st.sampled_from(["p", "q"])), max_size=80),
)
def test_whatever_fails_it_stays_closed_and_nobody_is_accused(
    policy: Policy, outcomes: list[tuple[bool, float, str]]
) -> None:
    now, status = NOW, Status()
    for is_good, seconds, process in outcomes:
        now += seconds
        row = Outcome.GOOD if is_good else Outcome.FAILED
        batch = Batch(
            generation=0,
            counts=Counts(50, 0 if is_good else 50),
            recent=row * 50,
            own_run=0 if is_good else 50,
            witness=Witness(process=process, succeeded_at=now if is_good else None),
        )
        status = machine.merge(status, policy, now, batch).status
        status = outcome(status, policy, is_good, now)
        status = machine.testify(status, policy, now, Witness(process="q")).status
    assert (status.state, status.generation, status.accuser) == (State.CLOSED, 0, "")
    assert not status.quarantines


def test_what_was_accused_under_another_strategy_is_forgotten() -> None:
    accused = status(0, 100, accuser="p", run_by="p", failure_count=9, run_started_at=NOW - 99)
    judged = machine.testify(accused, policy(), NOW, Witness(process="p"))
    assert judged.change is None
    assert not machine.refuses_itself(accused, policy(), Witness(process="p"))


def test_a_remote_that_asks_to_wait_is_heeded() -> None:
    heeding = policy(respect_retry_after=True)
    step = machine.fail(Status(), heeding, Permit(0), NOW, Failure(retry_after=20))
    assert step.change is not None
    assert (step.status.state, step.change.reason) == (State.OPEN, Reason.RETRY_AFTER)


def test_after_forced_open_a_trial_closes_it_with_an_empty_window() -> None:
    forced = machine.set_mode(status(0, 100), Mode.FORCED_OPEN, NOW).status
    free = machine.set_mode(forced, Mode.AUTOMATIC, NOW).status
    trial = machine.admit(free, policy(), NOW + 1, "A")
    assert trial.permit is not None
    closed = machine.succeed(trial.status, policy(), trial.permit, NOW + 1).status
    assert closed.state is State.CLOSED
    assert throttle.share_of(closed.window, policy(), NOW + 1) == 0


def shares_of(failing: dict[int, float], seconds: int, of: Policy) -> list[float]:
    """Return the share refused at the end of each second, while a share of the calls fails.

    Args:
        failing: The share of the calls that fail, by the second from which it applies.
    """
    random, state, share, told = Random(1), Status(), 0.0, []
    for second in range(seconds):
        share = failing.get(second, share)
        for call in range(20):
            now = NOW + second + call / 20
            admission = machine.admit(state, of, now, "A", random.random())
            if admission.permit is not None:
                state = outcome(state, of, random.random() >= share, now)
        told.append(throttle.share_of(state.window, of, NOW + second + 1))
    return told


def test_it_begins_settles_and_returns_by_itself() -> None:
    told = shares_of({0: 0.0, 60: 0.75, 180: 0.0}, 300, policy(window_seconds=30))
    assert told[:60] == [0.0] * 60
    assert sum(told[120:180]) / 60 == pytest.approx(0.5, abs=0.05)
    assert told[240:] == [0.0] * 60


def test_one_shard_of_four_down_is_within_the_default_limit() -> None:
    assert not any(shares_of({0: 0.25}, 300, policy()))


def test_a_whole_outage_is_refused_up_to_the_most_and_is_over_within_a_window() -> None:
    told = shares_of({0: 1.0, 120: 0.0}, 200, policy(window_seconds=30))
    assert max(told) == 0.9
    assert told[100:120] == [0.9] * 20
    assert not any(told[150:])


def test_a_snapshot_in_another_generation_counts_for_nothing() -> None:
    late = replace(Status(), generation=3)
    batch = Batch(generation=2, counts=Counts(10, 10), recent=Outcome.FAILED * 10)
    assert machine.merge(late, policy(), NOW, batch).status is late
