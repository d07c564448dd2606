"""The state machine, rule by rule, and compared with a naive one in every order of events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from math import nextafter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from circuits.core import conviction, machine
from circuits.core.machine import MEMORY_GENERATION
from circuits.core.policy import LONGEST, POLICY_LIMITS, Limits, Policy, Strategy
from circuits.core.status import (
    Admission,
    Change,
    Failure,
    Lease,
    Mode,
    Permit,
    Quarantine,
    Reason,
    State,
    Status,
    Step,
    Witness,
)
from circuits.core.windows import Bucket, Window
from circuits.exceptions import InvalidInputError
from tests.circuits.core.naive_machine import Call, NaiveCircuit

NOW = 1000.0
POLICY = Policy(threshold=3, delay=10)
ALMOST_ONE = 1 - 2**-53


def fail(status: Status, policy: Policy = POLICY, now: float = NOW, **failure: Any) -> Step:
    """Return the step of a failed call that was let through in the present generation."""
    return machine.fail(status, policy, Permit(status.generation), now, Failure(**failure))


def run_of_failures(count: int, policy: Policy = POLICY, **status: Any) -> Status:
    """Return a circuit after ``count`` failures in a row at one moment."""
    current = Status(**status)
    for _ in range(count):
        current = fail(current, policy).status
    return current


def opened(policy: Policy = POLICY, **status: Any) -> Status:
    """Return a circuit that failures have opened at NOW."""
    current = run_of_failures(policy.threshold, policy, **status)
    assert current.state is State.OPEN
    return current


def half_open(policy: Policy = POLICY, **status: Any) -> Status:
    """Return an opened circuit at the moment at which its delay has passed."""
    current = machine.expire(opened(policy, **status), NOW + policy.delay).status
    assert current.state is State.HALF_OPEN
    return current


def try_out(
    status: Status, token: str = "a", policy: Policy = POLICY, now: float = NOW + 10
) -> tuple[Status, Permit]:
    """Return a half-open circuit with one more trial under way, and the permit of the trial."""
    admission = machine.admit(status, policy, now, token)
    assert admission.permit is not None
    assert admission.permit.lease == token
    return admission.status, admission.permit


def admit(status: Status, now: float = NOW, policy: Policy = POLICY, token: str = "a") -> Admission:
    return machine.admit(status, policy, now, token)


# Closed ----------------------------------------------------------------------------------------


def test_a_new_circuit_is_closed_and_automatic() -> None:
    assert (Status().state, Status().mode, Status().generation) == ("closed", "automatic", 0)


def test_a_closed_circuit_lets_every_call_through_and_nothing_changes() -> None:
    status = run_of_failures(2, generation=4)
    assert admit(status) == Admission(status, permit=Permit(4))
    assert admit(status).status is status


def test_threshold_failures_in_a_row_open_it_and_one_less_does_not() -> None:
    assert run_of_failures(2).state is State.CLOSED
    step = fail(run_of_failures(2))
    assert (step.status.state, step.status.failure_count) == ("open", 3)
    assert (step.status.opened_at, step.status.retry_at) == (NOW, NOW + 10)
    assert step.status.changed_at == NOW


def test_the_change_tells_what_changed_when_and_why() -> None:
    assert fail(run_of_failures(2, generation=6)).change == Change(
        from_state=State.CLOSED,
        to_state=State.OPEN,
        from_mode=Mode.AUTOMATIC,
        to_mode=Mode.AUTOMATIC,
        generation=7,
        reason=Reason.FAILURES,
        at=NOW,
    )


def test_a_threshold_of_one_opens_it_at_the_first_failure() -> None:
    assert fail(Status(), Policy(threshold=1)).status.state is State.OPEN


def test_a_success_clears_the_run_of_failures() -> None:
    step = machine.succeed(run_of_failures(2), POLICY, Permit(0), NOW)
    assert step == Step(Status())
    assert fail(fail(step.status).status).status.state is State.CLOSED


def test_a_success_with_no_failures_to_clear_changes_nothing() -> None:
    status = Status()
    assert machine.succeed(status, POLICY, Permit(0), NOW).status is status


def test_the_first_delay_has_no_jitter() -> None:
    jittery = replace(POLICY, jitter=1)
    step = fail(run_of_failures(2, jittery), jittery, chance=0.9)
    assert step.status.retry_at == NOW + 10


# The opening rule ------------------------------------------------------------------------------


def test_a_process_that_saw_threshold_failures_in_a_row_opens_it_at_once() -> None:
    assert fail(run_of_failures(2), own_run=3, settle_seconds=60).status.state is State.OPEN
    assert fail(run_of_failures(2), own_run=2, settle_seconds=60).status.state is State.CLOSED


def test_a_time_that_is_reached_is_reached() -> None:
    """This includes times for which ``began + seconds - began`` is less than ``seconds``."""
    for began in (0.1, 3.3, NOW, 1_764_000_000.1):
        for seconds in (0.1, 0.2, 0.3, 0.7, 1.1, 2.3, 10.7):
            at = began + seconds
            policy = Policy(threshold=2, delay=seconds, lease_seconds=seconds)
            run = fail(Status(), policy, began).status
            step = fail(run, policy, at, own_run=0, settle_seconds=seconds)
            assert step.status.state is State.OPEN
            early = nextafter(at, 0)
            assert fail(run, policy, early, own_run=0, settle_seconds=seconds).change is None

            first = fail(Status(), Policy(threshold=1, delay=seconds), began).status
            assert machine.expire(first, early).change is None
            trying = machine.admit(first, policy, at, "a").status
            assert trying.state is State.HALF_OPEN
            assert machine.admit(trying, policy, nextafter(at + seconds, 0), "b").permit is None
            assert machine.admit(trying, policy, at + seconds, "b").permit is not None


def test_a_young_shared_run_opens_nothing_however_long_it_is() -> None:
    step = fail(run_of_failures(2), now=NOW + 0.1, settle_seconds=0.2)
    assert (step.status.state, step.status.failure_count) == ("closed", 3)


def test_a_shared_run_opens_it_once_it_is_old_enough() -> None:
    young = fail(run_of_failures(2), settle_seconds=0.5).status
    assert fail(young, now=NOW + 0.5, settle_seconds=0.5).status.state is State.OPEN


def test_an_old_shared_run_that_is_too_short_opens_nothing() -> None:
    assert fail(run_of_failures(1), now=NOW + 99, settle_seconds=0.2).status.state is State.CLOSED


def test_the_age_of_a_run_is_that_of_its_first_failure() -> None:
    status = fail(Status(), now=NOW).status
    assert fail(status, now=NOW + 5).status.run_started_at == NOW


def test_a_success_elsewhere_makes_the_run_young_again() -> None:
    old = fail(Status(), now=NOW).status
    cleared = machine.succeed(old, POLICY, Permit(0), NOW + 1).status
    assert cleared.run_started_at is None
    assert fail(cleared, now=NOW + 2).status.run_started_at == NOW + 2


def test_without_a_settling_time_exactly_threshold_failures_open_it_on_any_clock() -> None:
    assert fail(run_of_failures(2), now=NOW - 60, settle_seconds=0).status.state is State.OPEN


# Open ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passed", [0, 4, 9.75])
def test_an_open_circuit_refuses_calls_and_tells_what_remains_of_the_delay(passed: float) -> None:
    status = opened()
    assert admit(status, NOW + passed) == Admission(status, retry_after=10 - passed)
    assert admit(status, NOW + passed).status is status


def test_the_delay_that_has_passed_makes_it_half_open() -> None:
    step = machine.expire(opened(), NOW + 10)
    assert step.status.state is State.HALF_OPEN
    assert step.status.retry_at is None
    assert step.change is not None
    assert (step.change.reason, step.change.generation) == (Reason.DELAY_PASSED, 2)


def test_the_delay_that_has_not_passed_changes_nothing() -> None:
    status = opened()
    assert machine.expire(status, NOW + 9.99).status is status


@pytest.mark.parametrize("status", [Status(), half_open()])
def test_time_alone_moves_no_other_state(status: Status) -> None:
    assert machine.expire(status, NOW + 1e6).status is status


def test_an_open_circuit_with_no_retry_time_is_due_at_once() -> None:
    assert machine.expire(Status(state=State.OPEN), NOW).status.state is State.HALF_OPEN


def test_an_open_circuit_is_due_when_the_clock_was_set_back_past_its_opening() -> None:
    assert machine.expire(opened(), NOW - 1.1).status.state is State.HALF_OPEN
    assert machine.open_remaining(opened(), NOW - 1.1) == 0
    # The clock of a server that replaces another may differ by as much.
    assert machine.open_remaining(opened(), NOW - 1) == 11
    assert machine.open_remaining(opened(), NOW) == 10


def test_a_lease_longer_than_a_new_one_is_of_a_clock_set_back() -> None:
    lease = Lease("a", NOW + 30)
    status = Status(state=State.HALF_OPEN, leases=(lease,))
    live = [machine.live_leases(status, 30, NOW + passed) for passed in (-3600, -1.1, -1, 29.9, 30)]
    assert live == [(), (), (lease,), (lease,), ()]


def test_a_ramp_up_ends_with_a_clock_set_back() -> None:
    policy = Policy(ramp_up_seconds=30)
    status = Status(recovered_at=NOW)
    left = [
        machine.ramp_remaining(status, policy, NOW + passed) for passed in (-3600, -1.1, -1, 10)
    ]
    assert left == [0, 0, 30, 20]


@pytest.mark.parametrize("passed", [-3600, -0.2, 0.2])
def test_a_shared_run_is_believed_unless_it_is_of_this_moment(passed: float) -> None:
    failure = Failure(own_run=0, settle_seconds=0.2)
    status = Status(failure_count=3, run_started_at=NOW)
    assert conviction.opens(status, POLICY, NOW + passed, failure)
    assert not conviction.opens(status, POLICY, NOW + passed / 10_000_000, failure)


def test_the_first_call_after_the_delay_is_the_trial_when_no_one_expired_it_before() -> None:
    admission = admit(opened(), NOW + 10)
    assert admission.status.state is State.HALF_OPEN
    assert admission.permit == Permit(generation=2, lease="a")
    assert admission.change is not None
    assert admission.change.reason is Reason.DELAY_PASSED


def test_without_a_delay_the_next_call_is_a_trial() -> None:
    policy = Policy(threshold=1, delay=0)
    assert admit(opened(policy), NOW, policy).permit == Permit(generation=2, lease="a")


# Half open -------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 2, 5])
def test_half_open_lets_through_at_most_half_open_max_calls_at_once(most: int) -> None:
    policy = replace(POLICY, half_open_max_calls=most)
    status = half_open(policy)
    for number in range(most):
        status, _ = try_out(status, str(number), policy)
    refused = admit(status, NOW + 10, policy)
    assert (refused.permit, refused.status is status) == (None, True)


def test_a_refusal_in_half_open_asks_to_wait_a_second_at_most() -> None:
    status, _ = try_out(half_open())
    assert admit(status, NOW + 10).retry_after == 1


def test_a_refusal_in_half_open_asks_to_wait_for_what_remains_of_the_first_lease_to_end() -> None:
    policy = replace(POLICY, half_open_max_calls=2, lease_seconds=30)
    status, _ = try_out(half_open(policy), "a", policy, now=NOW + 10)
    status, _ = try_out(status, "b", policy, now=NOW + 20)
    assert admit(status, NOW + 39.75, policy).retry_after == 0.25


def test_a_successful_trial_closes_it_and_forgets_the_outage() -> None:
    status, permit = try_out(half_open())
    step = machine.succeed(status, POLICY, permit, NOW + 11)
    assert step.status == Status(generation=3, changed_at=NOW + 11, recovered_at=NOW + 11)
    assert step.change is not None
    assert step.change.reason is Reason.TRIAL_SUCCEEDED


def test_it_closes_after_success_threshold_trials_and_not_before() -> None:
    policy = replace(POLICY, success_threshold=3)
    status = half_open(policy)
    for number in range(2):
        status, permit = try_out(status, str(number), policy)
        step = machine.succeed(status, policy, permit, NOW + 10)
        status = step.status
        assert (status.state, status.trial_successes) == ("half_open", number + 1)
        assert (status.leases, step.change) == ((), None)
    status, permit = try_out(status, "last", policy)
    step = machine.succeed(status, policy, permit, NOW + 10)
    assert step.status == Status(generation=3, changed_at=NOW + 10, recovered_at=NOW + 10)


def test_one_failed_trial_opens_it_again() -> None:
    status, permit = try_out(half_open())
    step = machine.fail(status, POLICY, permit, NOW + 12, Failure())
    assert step.status.state is State.OPEN
    assert (step.status.opened_at, step.status.retry_at) == (NOW + 12, NOW + 22)
    assert step.status.leases == ()
    assert step.change is not None
    assert step.change.reason is Reason.TRIAL_FAILED


def test_successes_of_an_earlier_half_open_do_not_count_in_the_next() -> None:
    policy = replace(POLICY, success_threshold=2, half_open_max_calls=2)
    status, good = try_out(half_open(policy), "good", policy)
    status, bad = try_out(status, "bad", policy)
    status = machine.succeed(status, policy, good, NOW + 10).status
    status = machine.fail(status, policy, bad, NOW + 10, Failure()).status
    again = machine.expire(status, NOW + 20).status
    assert (again.state, again.trial_successes) == ("half_open", 0)


def test_each_failed_recovery_grows_the_delay_and_a_recovery_makes_it_short_again() -> None:
    policy = Policy(threshold=1, delay=10, backoff_factor=2, max_delay=35)
    status, now, waits = opened(policy), NOW, []
    for number in range(4):
        assert status.retry_at is not None
        waits.append(status.retry_at - now)
        now = status.retry_at
        status, permit = try_out(status, str(number), policy, now)
        status = machine.fail(status, policy, permit, now, Failure()).status
    assert waits == [10, 20, 35, 35]
    assert status.retry_at is not None
    recovering, permit = try_out(status, "good", policy, status.retry_at)
    closed = machine.succeed(recovering, policy, permit, NOW + 500).status
    reopened = fail(closed, policy, NOW + 600).status
    assert reopened.retry_at == NOW + 610
    status, permit = try_out(reopened, "bad", policy, NOW + 610)
    assert machine.fail(status, policy, permit, NOW + 610, Failure()).status.retry_at == NOW + 630


def test_jitter_shortens_a_grown_delay_by_chance() -> None:
    policy = replace(POLICY, jitter=0.5)
    status, permit = try_out(half_open(policy), "a", policy)
    step = machine.fail(status, policy, permit, NOW + 10, Failure(chance=0.5))
    assert step.status.retry_at == NOW + 10 + 7.5


# Leases ----------------------------------------------------------------------------------------


def test_a_trial_whose_holder_died_gives_its_place_to_another_when_its_lease_ends() -> None:
    policy = replace(POLICY, lease_seconds=5)
    status, _ = try_out(half_open(policy), "dead", policy, now=NOW + 10)
    assert admit(status, NOW + 14.99, policy).permit is None
    admission = admit(status, NOW + 15, policy, "next")
    assert admission.permit == Permit(generation=2, lease="next")
    assert admission.status.leases == (Lease("next", NOW + 20),)


def test_a_late_success_counts_although_another_has_its_place() -> None:
    status, late = try_out(half_open(), "late")
    status, _ = try_out(status, "next", now=NOW + 41)
    assert machine.succeed(status, POLICY, late, NOW + 55).status.state is State.CLOSED


def test_a_late_failure_counts_although_another_has_its_place() -> None:
    status, late = try_out(half_open(), "late")
    status, _ = try_out(status, "next", now=NOW + 41)
    step = machine.fail(status, POLICY, late, NOW + 55, Failure())
    assert (step.status.state, step.status.reopen_count) == (State.OPEN, 1)


def test_a_late_trial_takes_no_place_from_the_one_that_has_it() -> None:
    policy = replace(POLICY, success_threshold=2)
    status, late = try_out(half_open(policy), "late", policy)
    status, _ = try_out(status, "next", policy, now=NOW + 41)
    assert machine.release(status, late).status is status
    after = machine.succeed(status, policy, late, NOW + 55).status
    assert (after.trial_successes, after.leases) == (1, status.leases)


@pytest.mark.parametrize("seconds", [45, 1000])
def test_slow_trials_close_it_one_after_the_other(seconds: float) -> None:
    """Each takes longer than its lease, and calls come all the time."""
    policy = replace(POLICY, success_threshold=15, lease_seconds=30)
    status, under_way = half_open(policy), []
    for second in range(16 * 1000):
        admission = admit(status, NOW + 10 + second, policy, str(second))
        status = admission.status
        if admission.permit is not None:
            under_way.append((NOW + 10 + second + seconds, admission.permit))
        if under_way[0][0] <= NOW + 10 + second:
            _, permit = under_way.pop(0)
            status = machine.succeed(status, policy, permit, NOW + 10 + second).status
        if status.state is State.CLOSED:
            return
    raise AssertionError("it is wedged")


def test_a_trial_whose_holder_lives_keeps_its_place() -> None:
    status, permit = try_out(half_open(), "alive")
    for now in (NOW + 20, NOW + 45, NOW + 70):
        status = machine.renew(status, POLICY, permit, now).status
        assert status.leases == (Lease("alive", now + 30),)
    assert admit(status, NOW + 99, token="next").permit is None
    assert admit(status, NOW + 100, token="next").permit is not None


def test_a_trial_that_comes_back_in_time_takes_its_place_again() -> None:
    status, permit = try_out(half_open(), "back")
    assert machine.renew(status, POLICY, permit, NOW + 90).status.leases == (
        Lease("back", NOW + 120),
    )


def test_a_trial_takes_no_place_back_that_others_have() -> None:
    policy = replace(POLICY, half_open_max_calls=2)
    status, permit = try_out(half_open(policy), "late", policy)
    status, _ = try_out(status, "second", policy, now=NOW + 41)
    status, _ = try_out(status, "third", policy, now=NOW + 41)
    assert machine.renew(status, policy, permit, NOW + 42).status is status


@pytest.mark.parametrize("permit", [Permit(2), Permit(1, lease="a"), Permit(3, lease="a")])
def test_what_is_no_trial_of_this_half_open_renews_nothing(permit: Permit) -> None:
    status = half_open()
    assert machine.renew(status, POLICY, permit, NOW + 12).status is status


def test_a_trial_given_back_frees_its_place_and_counts_as_neither() -> None:
    status, permit = try_out(half_open())
    step = machine.release(status, permit)
    assert step == Step(half_open())
    assert admit(step.status, NOW + 10, token="b").permit == Permit(generation=2, lease="b")


def test_giving_back_one_trial_leaves_the_others_alone() -> None:
    policy = replace(POLICY, half_open_max_calls=2)
    status, first = try_out(half_open(policy), "first", policy)
    status, second = try_out(status, "second", policy)
    left = machine.release(status, first).status
    assert [lease.token for lease in left.leases] == ["second"]
    assert machine.succeed(left, policy, second, NOW + 10).status.state is State.CLOSED


def test_giving_back_what_is_no_trial_changes_nothing() -> None:
    status = run_of_failures(1)
    assert machine.release(status, Permit(0)).status is status


# Calls that hang -------------------------------------------------------------------------------


def test_a_run_that_was_too_young_opens_it_while_a_call_of_it_hangs() -> None:
    aged = Failure(own_run=0, settle_seconds=0.25)
    status = Status()
    for _ in range(4):
        status = machine.fail(status, POLICY, Permit(0), NOW, aged).status
    assert status.state is State.CLOSED
    early = machine.reconsider(status, POLICY, Permit(0), NOW + 0.125, aged)
    assert early.status is status
    step = machine.reconsider(status, POLICY, Permit(0), NOW + 0.25, aged)
    assert step.change is not None
    assert (step.status.state, step.change.reason) == (State.OPEN, Reason.FAILURES)
    assert step.status.retry_at == NOW + 0.25 + POLICY.delay
    assert step.status.failure_count == 4, "it counts nothing"


@pytest.mark.parametrize(
    ("status", "permit", "policy"),
    [
        (Status(failure_count=2, run_started_at=NOW), Permit(0), POLICY),
        (Status(failure_count=9, run_started_at=NOW), Permit(1), POLICY),
        (Status(failure_count=9, run_started_at=NOW), Permit(0, counts=False), POLICY),
        (
            Status(mode=Mode.FORCED_CLOSED, failure_count=9, run_started_at=NOW),
            Permit(0),
            POLICY,
        ),
        (
            Status(failure_count=9, run_started_at=NOW),
            Permit(0),
            replace(POLICY, strategy=Strategy.RATE),
        ),
        (half_open(), Permit(2, lease="a"), POLICY),
    ],
    ids=["too few", "other generation", "does not count", "forced", "by the rate", "half open"],
)
def test_a_call_that_hangs_opens_nothing_else(
    status: Status, permit: Permit, policy: Policy
) -> None:
    step = machine.reconsider(status, policy, permit, NOW + 1000, Failure(own_run=0))
    assert step.status is status


# Generations -----------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", [0, 2])
@pytest.mark.parametrize("status", [Status(generation=1, failure_count=2), opened()])
def test_a_result_of_another_generation_changes_nothing(status: Status, generation: int) -> None:
    other = Permit(generation)
    assert machine.succeed(status, POLICY, other, NOW).status is status
    assert machine.fail(status, POLICY, other, NOW, Failure(own_run=99)).status is status


def test_a_result_from_before_the_opening_does_not_count_in_half_open() -> None:
    status, _ = try_out(half_open())
    for old in (Permit(0), Permit(0, lease="a"), Permit(1, lease="a")):
        assert machine.succeed(status, POLICY, old, NOW).status is status
        assert machine.fail(status, POLICY, old, NOW, Failure()).status is status
        assert machine.release(status, old).status is status


def test_a_result_that_is_no_trial_does_not_count_in_half_open() -> None:
    status, _ = try_out(half_open())
    assert machine.succeed(status, POLICY, Permit(2), NOW).status is status
    assert machine.fail(status, POLICY, Permit(2), NOW, Failure()).status is status


# Modes -----------------------------------------------------------------------------------------


def in_mode(mode: Mode, status: Status | None = None) -> Status:
    return machine.set_mode(Status() if status is None else status, mode, NOW).status


STATUSES = [Status(), run_of_failures(2), opened(), half_open(), try_out(half_open())[0]]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("mode", list(Mode))
def test_a_change_of_mode_is_a_new_generation_and_the_same_mode_is_not(
    status: Status, mode: Mode
) -> None:
    step = machine.set_mode(status, mode, NOW + 3)
    if mode is Mode.AUTOMATIC:
        assert (step.status is status, step.change) == (True, None)
        return
    assert step.change is not None
    assert step.change.reason is Reason.MODE
    assert (step.change.from_mode, step.change.to_mode) == ("automatic", mode)
    assert step.status.generation == step.change.generation == status.generation + 1
    assert (step.status.leases, step.status.changed_at) == ((), NOW + 3)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("now", [NOW, NOW + 1e6])
def test_forced_open_refuses_every_call(status: Status, now: float) -> None:
    forced = in_mode(Mode.FORCED_OPEN, status)
    assert forced.state is State.OPEN
    assert admit(forced, now) == Admission(forced, retry_after=10)


def test_neither_time_nor_a_reset_ends_forced_open() -> None:
    forced = in_mode(Mode.FORCED_OPEN)
    assert machine.expire(forced, NOW + 1e6).status is forced
    assert machine.reset(forced, NOW).status is forced


@pytest.mark.parametrize("status", STATUSES)
def test_out_of_forced_open_the_next_call_is_a_trial(status: Status) -> None:
    automatic = machine.set_mode(in_mode(Mode.FORCED_OPEN, status), Mode.AUTOMATIC, NOW).status
    assert automatic.state is State.OPEN
    assert admit(automatic, NOW).permit == Permit(status.generation + 3, lease="a")


@pytest.mark.parametrize("status", STATUSES)
def test_forced_open_for_a_while_refuses_until_it_is_over(status: Status) -> None:
    forced = machine.set_mode(status, Mode.FORCED_OPEN, NOW, NOW + 1800).status
    assert admit(forced, NOW + 1) == Admission(forced, retry_after=1799)
    assert machine.expire(forced, NOW + 1799.9).status is forced
    assert machine.reset(forced, NOW).status is forced


@pytest.mark.parametrize("status", STATUSES)
def test_the_first_call_after_forced_open_is_over_is_a_trial(status: Status) -> None:
    """Nothing depends on beat, since the call itself ends the mode, in one change."""
    forced = machine.set_mode(status, Mode.FORCED_OPEN, NOW, NOW + 1800).status
    admission = admit(forced, NOW + 1800)
    assert admission.permit == Permit(forced.generation + 1, lease="a")
    assert admission.change == Change(
        from_state=State.OPEN,
        to_state=State.HALF_OPEN,
        from_mode=Mode.FORCED_OPEN,
        to_mode=Mode.AUTOMATIC,
        generation=forced.generation + 1,
        reason=Reason.MODE_OVER,
        at=NOW + 1800,
    )
    assert (admission.status.mode_until, admission.status.retry_at) == (None, None)


def test_forced_closed_for_a_while_trips_again_once_it_is_over() -> None:
    forced = machine.set_mode(opened(), Mode.FORCED_CLOSED, NOW, NOW + 60).status
    over = admit(forced, NOW + 60)
    assert over.permit == Permit(forced.generation + 1)
    assert (over.status.state, over.status.mode) == ("closed", "automatic")
    assert fail(over.status, Policy(threshold=1)).status.state is State.OPEN


def test_to_observe_for_a_while_ends_with_the_delay_still_to_be_served() -> None:
    observed = machine.set_mode(opened(), Mode.OBSERVE, NOW, NOW + 4).status
    over = machine.expire(observed, NOW + 4).status
    assert (over.state, over.mode) == ("open", "automatic")
    assert admit(over, NOW + 4).retry_after == 6


def test_a_mode_may_be_given_another_end_or_none() -> None:
    forced = machine.set_mode(Status(), Mode.FORCED_OPEN, NOW, NOW + 60).status
    longer = machine.set_mode(forced, Mode.FORCED_OPEN, NOW + 50, NOW + 600)
    assert longer.change is not None
    assert (longer.change.until, longer.status.mode_until) == (NOW + 600, NOW + 600)
    for_good = machine.set_mode(longer.status, Mode.FORCED_OPEN, NOW + 51).status
    assert machine.expire(for_good, NOW + 1e6).status is for_good


def test_another_end_does_not_forget_what_forced_closed_has_recorded() -> None:
    recorded = run_of_failures(10, mode=Mode.FORCED_CLOSED)
    assert machine.set_mode(recorded, Mode.FORCED_CLOSED, NOW, NOW + 1).status.failure_count == 10


def test_somebody_who_sets_it_back_takes_the_end_away() -> None:
    forced = machine.set_mode(Status(), Mode.FORCED_OPEN, NOW, NOW + 60).status
    assert machine.set_mode(forced, Mode.AUTOMATIC, NOW, NOW + 99).status.mode_until is None


def test_forced_open_keeps_the_time_at_which_the_circuit_opened_by_itself() -> None:
    assert machine.set_mode(opened(), Mode.FORCED_OPEN, NOW + 5).status.opened_at == NOW
    assert machine.set_mode(Status(), Mode.FORCED_OPEN, NOW + 5).status.opened_at == NOW + 5


@pytest.mark.parametrize("status", STATUSES)
def test_forced_closed_lets_every_call_through(status: Status) -> None:
    forced = in_mode(Mode.FORCED_CLOSED, status)
    assert (forced.state, forced.failure_count, forced.retry_at) == ("closed", 0, None)
    assert admit(forced) == Admission(forced, permit=Permit(forced.generation))


def test_forced_closed_records_failures_and_never_trips() -> None:
    forced = run_of_failures(10, mode=Mode.FORCED_CLOSED)
    assert (forced.state, forced.failure_count, forced.generation) == ("closed", 10, 0)
    assert fail(forced, own_run=99).status.state is State.CLOSED


def test_out_of_forced_closed_the_failures_recorded_meanwhile_count() -> None:
    recorded = run_of_failures(10, mode=Mode.FORCED_CLOSED)
    automatic = machine.set_mode(recorded, Mode.AUTOMATIC, NOW).status
    assert fail(automatic).status.state is State.OPEN


def test_observe_refuses_nothing_and_tells_what_it_would_have_refused() -> None:
    status = opened(mode=Mode.OBSERVE)
    assert admit(status) == Admission(
        status, permit=Permit(generation=1, counts=False), retry_after=10
    )


def test_observe_runs_the_whole_machine() -> None:
    status, permit = try_out(opened(mode=Mode.OBSERVE))
    assert machine.succeed(status, POLICY, permit, NOW).status.state is State.CLOSED
    assert machine.fail(status, POLICY, permit, NOW, Failure()).status.state is State.OPEN


def test_a_call_that_observe_would_have_refused_counts_for_nothing() -> None:
    status, _ = try_out(opened(mode=Mode.OBSERVE))
    extra = admit(status, NOW + 10, token="b").permit
    assert extra == Permit(generation=2, counts=False)
    assert machine.succeed(status, POLICY, extra, NOW).status is status
    assert machine.fail(status, POLICY, extra, NOW, Failure()).status is status


def test_observing_keeps_the_state() -> None:
    assert in_mode(Mode.OBSERVE, opened()).state is State.OPEN
    assert in_mode(Mode.OBSERVE, opened()).retry_at == NOW + 10


# Reset -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [Mode.AUTOMATIC, Mode.OBSERVE])
@pytest.mark.parametrize("make", [opened, half_open])
def test_a_reset_closes_the_circuit_and_keeps_its_mode(make: Any, mode: Mode) -> None:
    step = machine.reset(make(mode=mode, generation=4), NOW + 20)
    generation = 6 if make is opened else 7
    assert step.status == Status(mode=mode, generation=generation, changed_at=NOW + 20)
    assert step.change is not None
    assert step.change.reason is Reason.RESET


@pytest.mark.parametrize("mode", [Mode.AUTOMATIC, Mode.OBSERVE])
def test_an_open_circuit_may_try_at_once_and_the_trial_decides(mode: Mode) -> None:
    status = replace(opened(mode=mode, generation=4, reopen_count=2), accuser="a")
    step = machine.try_now(status, NOW + 2)
    assert step.change is not None
    assert (step.change.reason, step.change.generation) == (Reason.TRY_NOW, 6)
    trying = step.status
    assert (trying.state, trying.mode, trying.retry_at) == (State.HALF_OPEN, mode, None)
    assert (trying.reopen_count, trying.accuser) == (2, "")
    assert machine.opening_of(trying) == machine.opening_of(status)
    policy = Policy()
    admission = machine.admit(trying, policy, NOW + 2, "token", witness=Witness(process="a"))
    assert admission.permit == Permit(6, "token")
    closed = machine.succeed(admission.status, policy, admission.permit, NOW + 3)
    assert closed.status.state is State.CLOSED
    again = machine.fail(admission.status, policy, admission.permit, NOW + 3, Failure()).status
    assert (again.state, again.reopen_count, again.retry_at) == (State.OPEN, 3, NOW + 13)


def test_only_an_open_circuit_that_waits_can_try_at_once() -> None:
    for status in (Status(), machine.try_now(opened(), NOW).status, in_mode(Mode.FORCED_OPEN)):
        assert machine.try_now(status, NOW).status is status


def test_a_reset_of_a_closed_circuit_forgets_its_failures_and_is_no_change() -> None:
    assert machine.reset(run_of_failures(2), NOW) == Step(Status())


def test_a_reset_with_nothing_to_forget_changes_nothing() -> None:
    status = Status()
    assert machine.reset(status, NOW).status is status


# The delay -------------------------------------------------------------------------------------

policies = st.builds(
    Policy,
    delay=st.floats(0, LONGEST),
    backoff_factor=st.floats(1, 100),
    max_delay=st.floats(0, LONGEST),
    jitter=st.floats(0, 1),
)
chances = st.floats(0, 1, exclude_max=True)


def test_the_delay_grows_by_the_factor_up_to_the_longest() -> None:
    policy = Policy(delay=10, backoff_factor=3, max_delay=100)
    assert [machine.grown_delay(policy, n, 0) for n in range(5)] == [10, 30, 90, 100, 100]


def test_a_longest_delay_below_the_delay_does_not_shorten_it() -> None:
    policy = Policy(delay=10, backoff_factor=3, max_delay=2)
    assert [machine.grown_delay(policy, n, 0) for n in range(3)] == [10, 10, 10]


@pytest.mark.parametrize(("chance", "wait"), [(0, 40), (0.5, 30), (ALMOST_ONE, 20)])
def test_jitter_leaves_that_share_of_the_delay_to_chance(chance: float, wait: float) -> None:
    policy = Policy(delay=40, jitter=0.5)
    assert machine.grown_delay(policy, 1, chance) == pytest.approx(wait)


@pytest.mark.parametrize(("chance", "wait"), [(0, 40), (0.5, 20), (ALMOST_ONE, 0)])
def test_a_jitter_of_one_leaves_all_of_the_delay_to_chance(chance: float, wait: float) -> None:
    assert machine.grown_delay(Policy(delay=40, jitter=1), 1, chance) == pytest.approx(wait)


@settings(derandomize=True, deadline=None)
@given(policies, st.integers(0, 10_000), chances)
def test_the_delay_is_never_out_of_bounds(policy: Policy, failed: int, chance: float) -> None:
    wait = machine.grown_delay(policy, failed, chance)
    longest = max(policy.delay, policy.max_delay)
    assert 0 <= wait <= longest
    assert machine.grown_delay(policy, failed, 0) >= policy.delay
    assert wait >= policy.delay * (1 - policy.jitter) * (1 - 1e-9)


@settings(derandomize=True, deadline=None)
@given(policies, st.integers(0, 100))
def test_the_delay_never_shrinks_from_one_recovery_to_the_next(policy: Policy, failed: int) -> None:
    assert machine.grown_delay(policy, failed, 0) <= machine.grown_delay(policy, failed + 1, 0)


# The policy ------------------------------------------------------------------------------------


def policy_of(**values: Any) -> Policy:
    """Return a policy with values that may have a wrong type."""
    return Policy(**values)


def test_the_policy_of_the_design_is_the_default() -> None:
    policy = Policy()
    assert (policy.threshold, policy.delay) == (5, 10)
    assert (policy.half_open_max_calls, policy.success_threshold) == (1, 1)


@pytest.mark.parametrize("name", POLICY_LIMITS)
def test_both_ends_of_a_range_are_in_it_and_what_lies_beyond_is_not(name: str) -> None:
    for value in POLICY_LIMITS[name]:
        assert getattr(policy_of(**{name: value}), name) == value
    least, most = POLICY_LIMITS[name]
    for value in (least - 1, most + 1, -1):
        with pytest.raises(InvalidInputError, match=rf"^{name} must be .* not {value}\.$"):
            policy_of(**{name: value})


@pytest.mark.parametrize("name", POLICY_LIMITS)
@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), float("-inf"), True, False, "5", None, [5], 1 + 2j]
)
def test_what_is_no_finite_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidInputError, match=rf"^{name} must be a .*number from "):
        policy_of(**{name: value})


@pytest.mark.parametrize("name", ["threshold", "half_open_max_calls", "success_threshold"])
def test_counts_are_whole_numbers(name: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"^{name} must be a whole number from 1 to "):
        policy_of(**{name: 2.0})


def test_a_refused_value_is_told_with_what_it_may_be() -> None:
    with pytest.raises(InvalidInputError) as zero:
        Policy(threshold=0)
    assert str(zero.value) == "threshold must be a whole number from 1 to 1,000,000, not 0."
    with pytest.raises(InvalidInputError) as negative:
        Policy(delay=-1)
    assert str(negative.value) == "delay must be a number from 0 to 31,536,000, not -1."


@pytest.mark.parametrize("value", ["luck", "", None, 1, Strategy])
def test_a_refused_strategy_is_told_with_those_that_there_are(value: Any) -> None:
    with pytest.raises(InvalidInputError) as refused:
        policy_of(strategy=value)
    assert str(refused.value).startswith(
        "strategy must be 'consecutive', 'rate' or 'throttle', not "
    )
    if value == "luck":
        assert str(refused.value).endswith("not 'luck'.")


@pytest.mark.parametrize("value", ["consecutive", "rate"])
def test_a_strategy_may_be_named_and_is_one_then(value: str) -> None:
    assert policy_of(strategy=value).strategy is Strategy(value)


@pytest.mark.parametrize("value", [0, 1, "yes", None])
def test_a_refused_switch_is_told_with_what_it_may_be(value: Any) -> None:
    with pytest.raises(InvalidInputError) as refused:
        policy_of(respect_retry_after=value)
    assert str(refused.value) == f"respect_retry_after must be true or false, not {value!r}."


def test_the_limits_of_each_number_are_those_of_the_docs() -> None:
    """Authors of policies rely on these limits; the defaults are within them."""
    assert POLICY_LIMITS["threshold"] == Limits(1, 1_000_000)
    assert POLICY_LIMITS["failure_rate"] == Limits(0.001, 1)
    assert POLICY_LIMITS["window_seconds"] == Limits(1, 24 * 3600)
    for name, (least, most) in POLICY_LIMITS.items():
        assert least <= getattr(Policy(), name) <= most, name
    others = {field.name for field in fields(Policy)} - POLICY_LIMITS.keys()
    assert others == {"strategy", "respect_retry_after"}


# The opening -----------------------------------------------------------------------------------


def test_an_opening_stays_the_same_while_trials_fail_and_ends_with_the_closing() -> None:
    policy = replace(POLICY, delay=10, max_delay=10)
    status, now = opened(policy), NOW
    first = status.generation
    for _ in range(3):
        assert machine.opening_of(status) == first
        now += 10
        admission = machine.admit(status, policy, now, "token")
        assert admission.permit is not None
        assert machine.opening_of(admission.status) == first
        status = machine.fail(admission.status, policy, admission.permit, now, Failure()).status
    now += 10
    admission = machine.admit(status, policy, now, "token")
    assert admission.permit is not None
    closed = machine.succeed(admission.status, policy, admission.permit, now).status
    again = run_of_failures(3, policy, generation=closed.generation)
    assert machine.opening_of(again) == again.generation > first


# In memory -------------------------------------------------------------------------------------


def test_of_what_is_shared_nothing_but_the_circuits_own_times_goes_into_memory() -> None:
    """A circuit in memory has no other processes, so nothing is kept of what they did."""
    moments = ("run_started_at", "opened_at", "down_since", "retry_at", "recovered_at")
    times: dict[str, Any] = dict.fromkeys((*moments, "changed_at", "mode_until"), NOW)
    own: dict[str, Any] = {"state": State.OPEN, "mode": Mode.OBSERVE, "failure_count": 3}
    shared = Status(
        generation=7,
        leases=(Lease("token", NOW),),
        window=Window((Bucket(1, 2, 3, 4),), "gf"),
        run_by="web-1",
        accuser="web-1",
        quarantines=(Quarantine("web-1", NOW, NOW, 1),),
        last_success_at=NOW,
        succeeded_by="web-2",
        other_succeeded_at=NOW,
        **own,
        **times,
    )
    moved: dict[str, Any] = {name: at + 5.0 for name, at in times.items()}
    expected = Status(generation=MEMORY_GENERATION, **own, **moved)
    assert machine.in_memory(shared, 5.0) == expected


@pytest.mark.parametrize("shift", [-990.0, 0.0, 5.0])
def test_a_circuit_in_memory_goes_on_from_the_shared_one_on_another_clock(shift: float) -> None:
    shared, _ = try_out(half_open())
    shared = replace(shared, run_started_at=1.0, opened_at=2.0, retry_at=3.0, changed_at=4.0)
    mine = machine.in_memory(shared, shift)
    times = (mine.run_started_at, mine.opened_at, mine.retry_at, mine.changed_at)
    assert times == (1 + shift, 2 + shift, 3 + shift, 4 + shift)
    kept = ("state", "mode", "failure_count", "reopen_count", "trial_successes")
    assert [getattr(mine, name) for name in kept] == [getattr(shared, name) for name in kept]


def test_a_circuit_in_memory_has_a_generation_and_trials_of_its_own() -> None:
    shared, permit = try_out(half_open())
    mine = machine.in_memory(shared, 0)
    assert (mine.generation, mine.leases) == (MEMORY_GENERATION, ())
    assert MEMORY_GENERATION < 0
    assert machine.succeed(mine, POLICY, permit, NOW).status is mine


def test_times_that_are_not_known_stay_so_in_memory() -> None:
    assert machine.in_memory(Status(), 5.0) == Status(generation=MEMORY_GENERATION)


# Every order of events, against the naive machine ----------------------------------------------

#: Longer than any delay or lease of the policies below.
ENOUGH = 1000.0

small_policies = st.builds(
    Policy,
    threshold=st.integers(1, 4),
    delay=st.sampled_from([0, 1, 8]),
    half_open_max_calls=st.integers(1, 3),
    success_threshold=st.integers(1, 3),
    backoff_factor=st.sampled_from([1, 2, 4]),
    max_delay=st.sampled_from([0, 16, 64]),
    jitter=st.sampled_from([0, 0.5, 1]),
    lease_seconds=st.sampled_from([1, 16]),
)


numbers = st.integers(0, 2)
chances_in_eighths = st.integers(0, 7).map(lambda eighths: eighths / 8)


class Process:
    """A process of the site: what it has seen itself, and how long it uses a snapshot."""

    def __init__(self, settle_seconds: float) -> None:
        self.settle_seconds = settle_seconds
        self._run = 0
        self._generation = 0

    def saw_success(self) -> None:
        self._run = 0

    def saw_failure(self, generation: int) -> int:
        """Count a failure, and return how many in a row it has seen in this generation."""
        self._run = self._run + 1 if generation == self._generation else 1
        self._generation = generation
        return self._run


class Fleet(RuleBasedStateMachine):
    """Processes that call through one circuit, people who steer it, and time that passes.

    Calls end in any order, late or not at all, so leases expire and outcomes arrive late. Times are
    quarters and powers of two, so that both machines calculate with them exactly.
    """

    calls: Bundle[tuple[Process, Permit]] = Bundle("calls")

    @initialize(
        policy=small_policies,
        settle_seconds=st.lists(st.sampled_from([0, 0.25, 2]), min_size=3, max_size=3),
    )
    def begin(self, policy: Policy, settle_seconds: list[float]) -> None:
        self.now = NOW
        self.policy = policy
        self.status = Status()
        self.naive = NaiveCircuit(policy)
        self.processes = [Process(seconds) for seconds in settle_seconds]
        self.tokens = 0

    # Callers

    @rule(target=calls, number=numbers, times=st.integers(1, 3))
    def calls_begin(self, number: int, times: int) -> Any:
        permits = [self._ask() for _ in range(times)]
        return multiple(*((self.processes[number], permit) for permit in permits if permit))

    @rule(number=numbers)
    def call_succeeds_at_once(self, number: int) -> None:
        permit = self._ask()
        if permit is not None:
            self._succeed(self.processes[number], permit)

    @rule(number=numbers, chance=chances_in_eighths, times=st.integers(1, 4))
    def calls_fail_in_a_row(self, number: int, chance: float, times: int) -> None:
        for _ in range(times):
            permit = self._ask()
            if permit is not None:
                self._fail(self.processes[number], permit, chance)

    def _ask(self) -> Permit | None:
        self.tokens += 1
        token = f"token {self.tokens}"
        admission = machine.admit(self.status, self.policy, self.now, token)
        trials_before = self.status.leases
        self._take(admission)
        permit = admission.permit
        answer = self.naive.ask(self.now, token)
        assert admission.retry_after == answer.wait
        assert (permit is None) == (answer.call is None)
        if self.status.mode is Mode.FORCED_OPEN:
            assert permit is None
        elif self.status.mode is not Mode.AUTOMATIC:
            assert permit is not None
        if permit is None or permit.lease is None:
            assert set(self.status.leases) <= set(trials_before)
        else:
            live = [lease for lease in self.status.leases if lease.expires_at > self.now]
            assert len(live) <= self.policy.half_open_max_calls
        if permit is not None:
            assert _plain(permit) == answer.call
        self._compare()
        return permit

    @rule(call=consumes(calls))
    def call_succeeds(self, call: tuple[Process, Permit]) -> None:
        self._succeed(*call)

    def _succeed(self, process: Process, permit: Permit) -> None:
        process.saw_success()
        self._take_result(permit, machine.succeed(self.status, self.policy, permit, self.now))
        self.naive.succeeded(_plain(permit), self.now)
        self._compare()

    @rule(call=consumes(calls))
    def call_succeeds_and_no_one_is_told(self, call: tuple[Process, Permit]) -> None:
        process, _ = call
        process.saw_success()

    @rule(call=consumes(calls), chance=chances_in_eighths)
    def call_fails(self, call: tuple[Process, Permit], chance: float) -> None:
        self._fail(*call, chance)

    def _fail(self, process: Process, permit: Permit, chance: float) -> None:
        own_run = process.saw_failure(permit.generation)
        settle = process.settle_seconds
        failure = Failure(own_run=own_run, settle_seconds=settle, chance=chance)
        step = machine.fail(self.status, self.policy, permit, self.now, failure)
        self._take_result(permit, step)
        self.naive.failed(_plain(permit), self.now, own_run, settle, chance)
        self._compare()

    @rule(call=consumes(calls))
    def call_is_cancelled(self, call: tuple[Process, Permit]) -> None:
        _, permit = call
        self._take_result(permit, machine.release(self.status, permit))
        self.naive.came_to_nothing(_plain(permit))

    @rule(call=calls)
    def holder_lives(self, call: tuple[Process, Permit]) -> None:
        _, permit = call
        self._take_result(permit, machine.renew(self.status, self.policy, permit, self.now))
        self.naive.holder_lives(_plain(permit), self.now)
        live = machine.live_leases(self.status, self.policy.lease_seconds, self.now)
        assert len(live) <= self.policy.half_open_max_calls

    @rule(call=consumes(calls))
    def holder_dies(self, call: tuple[Process, Permit]) -> None:
        """Let the process die, so that the call is never settled."""

    # Time and people

    @rule(seconds=st.sampled_from([0.25, 1, 4, 16, 64]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.status.state is State.OPEN)
    @rule()
    def delay_passes(self) -> None:
        self.now = max(self.now, self.status.retry_at or 0)

    @rule()
    def beat(self) -> None:
        self._take(machine.expire(self.status, self.now))
        self.naive.let_time_pass(self.now)

    @rule()
    def try_now(self) -> None:
        self._take(machine.try_now(self.status, self.now))
        self.naive.try_now(self.now)

    @rule()
    def reset(self) -> None:
        self._take(machine.reset(self.status, self.now))
        self.naive.reset(self.now)

    @rule(mode=st.sampled_from(Mode), seconds=st.sampled_from([None, None, 1, 8, 32]))
    def set_mode(self, mode: Mode, seconds: float | None) -> None:
        until = None if seconds is None else self.now + seconds
        self._take(machine.set_mode(self.status, mode, self.now, until))
        self.naive.set_mode(mode.value, self.now, until)

    @precondition(lambda self: self.status.mode is not Mode.AUTOMATIC)
    @rule()
    def back_to_automatic(self) -> None:
        self.set_mode(Mode.AUTOMATIC, None)

    # What holds for every step

    def _take(self, step: Step) -> None:
        before, after, change = self.status, step.status, step.change
        assert asdict(before) == self.seen, "a step changed what it was given"
        assert (after is before) == (after == before)
        moved = [(each.state, each.mode, each.mode_until) for each in (before, after)]
        assert (change is not None) == (moved[0] != moved[1])
        assert after.generation == before.generation + (change is not None)
        if change is not None:
            assert (change.from_state, change.from_mode) == (before.state, before.mode)
            assert (change.to_state, change.to_mode) == (after.state, after.mode)
            assert change.until == after.mode_until
            assert change.generation == after.generation
            self.reason = change.reason
        self.status = after

    def _take_result(self, permit: Permit, step: Step) -> None:
        if permit.generation != self.status.generation:
            assert step.status is self.status
        self._take(step)

    @invariant()
    def both_machines_agree(self) -> None:
        self._compare()

    def _compare(self) -> None:
        status, naive = self.status, self.naive
        self.seen = asdict(status)
        assert (status.state, status.mode) == (naive.state, naive.mode)
        assert status.mode_until == naive.mode_ends_at
        assert status.generation == naive.generation
        assert status.failure_count == len(naive.failures)
        assert status.run_started_at == (naive.failures[0] if naive.failures else None)
        assert (status.opened_at, status.retry_at) == (naive.opened_at, naive.retry_at)
        assert status.reopen_count == naive.failed_recoveries
        assert status.trial_successes == naive.good_trials
        assert {lease.token: lease.expires_at for lease in status.leases} == naive.trials
        if naive.changes:
            assert (self.reason, status.changed_at) == naive.changes[-1][2:]

    @invariant()
    def an_open_circuit_has_a_time_to_retry_at(self) -> None:
        assert (self.status.state is State.OPEN) == (self.status.retry_at is not None)

    @invariant()
    def it_is_never_wedged(self) -> None:
        """Check that time and successful calls close it, whatever happened before."""
        forced = self.status.mode in (Mode.FORCED_OPEN, Mode.FORCED_CLOSED)
        if forced and self.status.mode_until is None:
            return
        status, now = self.status, self.now + ENOUGH
        for number in range(self.policy.success_threshold):
            admission = machine.admit(status, self.policy, now, f"recovery {number}")
            assert admission.permit is not None
            assert admission.permit.counts
            step = machine.succeed(admission.status, self.policy, admission.permit, now)
            status = step.status
        assert (status.state, status.failure_count) == ("closed", 0)


def _plain(permit: Permit) -> Call:
    return Call(permit.generation, permit.lease, permit.counts)


TestFleet = Fleet.TestCase
TestFleet.settings = settings(
    derandomize=True, deadline=None, max_examples=200, stateful_step_count=40
)


def test_a_status_cannot_be_changed() -> None:
    for frozen in (Status(), Policy(), Permit(0), Step(Status()), Lease("a", 1.0)):
        with pytest.raises(AttributeError):
            setattr(frozen, fields(frozen)[0].name, None)


# All that a step leaves ------------------------------------------------------------------------

RATE = Policy(strategy=Strategy.RATE, delay=10, minimum_calls=2, failure_rate=0.5)
HEEDING = replace(POLICY, respect_retry_after=True)
ME = Witness(process="me")
OPENED = Status(
    state=State.OPEN,
    generation=1,
    failure_count=3,
    run_started_at=NOW,
    opened_at=NOW,
    down_since=NOW,
    retry_at=NOW + 10,
    changed_at=NOW,
    run_by=conviction.MANY,
)
TRYING = replace(OPENED, state=State.HALF_OPEN, generation=2, retry_at=None, changed_at=NOW + 10)
BACK = Status(generation=3, changed_at=NOW + 20)


def by_me(status: Status) -> Status:
    return replace(status, run_by="me", accuser="me")


@pytest.mark.parametrize(
    ("step", "after", "reason"),
    [
        (lambda: fail(run_of_failures(2)), OPENED, Reason.FAILURES),
        (
            lambda: fail(run_of_failures(2), own_run=3, witness=ME),
            OPENED,
            Reason.FAILURES,
        ),
        (
            lambda: fail(Status(), replace(POLICY, threshold=1), witness=ME),
            by_me(replace(OPENED, failure_count=1)),
            Reason.FAILURES,
        ),
        (
            lambda: fail(run_of_failures(1), HEEDING, NOW + 5, retry_after=20, witness=ME),
            replace(
                OPENED,
                failure_count=1,
                opened_at=NOW + 5,
                down_since=NOW + 5,
                retry_at=NOW + 25,
                changed_at=NOW + 5,
            ),
            Reason.RETRY_AFTER,
        ),
        (lambda: machine.expire(OPENED, NOW + 10), TRYING, Reason.DELAY_PASSED),
        (
            lambda: machine.try_now(by_me(OPENED), NOW + 10),
            replace(TRYING, run_by="me"),
            Reason.TRY_NOW,
        ),
        (
            lambda: machine.fail(TRYING, POLICY, Permit(2, "a"), NOW + 20, Failure(witness=ME)),
            replace(
                OPENED,
                generation=3,
                reopen_count=1,
                opened_at=NOW + 20,
                retry_at=NOW + 30,
                changed_at=NOW + 20,
                accuser="me",
            ),
            Reason.TRIAL_FAILED,
        ),
        (
            lambda: machine.fail(
                by_me(TRYING),
                HEEDING,
                Permit(2, "a"),
                NOW + 20,
                Failure(witness=ME, retry_after=25),
            ),
            replace(
                by_me(OPENED),
                generation=3,
                reopen_count=1,
                opened_at=NOW + 20,
                retry_at=NOW + 45,
                changed_at=NOW + 20,
            ),
            Reason.TRIAL_FAILED,
        ),
        (
            lambda: machine.succeed(TRYING, POLICY, Permit(2, "a"), NOW + 20, ME),
            replace(BACK, recovered_at=NOW + 20, last_success_at=NOW + 20, succeeded_by="me"),
            Reason.TRIAL_SUCCEEDED,
        ),
        (lambda: machine.reset(TRYING, NOW + 20), BACK, Reason.RESET),
        (
            lambda: machine.set_mode(TRYING, Mode.FORCED_CLOSED, NOW + 20, NOW + 60),
            replace(BACK, mode=Mode.FORCED_CLOSED, mode_until=NOW + 60),
            Reason.MODE,
        ),
        (
            lambda: machine.set_mode(by_me(TRYING), Mode.FORCED_OPEN, NOW + 20, NOW + 60),
            replace(
                OPENED,
                mode=Mode.FORCED_OPEN,
                mode_until=NOW + 60,
                generation=3,
                retry_at=NOW + 20,
                changed_at=NOW + 20,
            ),
            Reason.MODE,
        ),
        (
            lambda: machine.set_mode(TRYING, Mode.OBSERVE, NOW + 20, NOW + 60),
            replace(
                TRYING, mode=Mode.OBSERVE, mode_until=NOW + 60, generation=3, changed_at=NOW + 20
            ),
            Reason.MODE,
        ),
        (
            lambda: machine.judge(
                by_me(replace(OPENED, state=State.CLOSED, generation=0)), POLICY, NOW + 1, ME
            ),
            by_me(replace(OPENED, opened_at=NOW + 1, retry_at=NOW + 11, changed_at=NOW + 1)),
            Reason.FAILURES,
        ),
        (
            lambda: machine.testify(
                by_me(OPENED), POLICY, NOW + 1, Witness(process="other", succeeded_at=NOW + 0.5)
            ),
            Status(
                generation=2,
                changed_at=NOW + 1,
                quarantines=(Quarantine("me", NOW + 1, NOW + 11, 1),),
            ),
            Reason.REFUTED,
        ),
        (
            lambda: machine.reconsider(
                replace(OPENED, state=State.CLOSED, generation=0, down_since=None),
                POLICY,
                Permit(0),
                NOW + 1,
                Failure(own_run=0, settle_seconds=0.5),
            ),
            replace(
                OPENED,
                opened_at=NOW + 1,
                down_since=NOW + 1,
                retry_at=NOW + 11,
                changed_at=NOW + 1,
            ),
            Reason.FAILURES,
        ),
        (
            lambda: machine.fail(
                machine.succeed(Status(), RATE, Permit(0), NOW).status,
                RATE,
                Permit(0),
                NOW,
                Failure(),
            ),
            replace(OPENED, failure_count=0, run_started_at=None),
            Reason.FAILURE_RATE,
        ),
    ],
)
def test_a_change_leaves_nothing_but_what_it_says(
    step: Callable[[], Step], after: Status, reason: Reason
) -> None:
    taken = step()
    assert taken.status == after
    assert taken.change is not None
    assert taken.change.reason is reason
    assert (taken.change.at, taken.change.until) == (after.changed_at, after.mode_until)
    evidence = "50 % of 2 calls failed, limit 50 %" if reason is Reason.FAILURE_RATE else ""
    assert taken.change.evidence == evidence


def test_another_end_of_a_mode_is_a_change_with_its_reason() -> None:
    forced = machine.set_mode(Status(), Mode.OBSERVE, NOW, NOW + 60).status
    step = machine.set_mode(forced, Mode.OBSERVE, NOW + 5)
    assert step.change is not None
    assert (step.change.reason, step.change.at, step.change.until) == (Reason.MODE, NOW + 5, None)
    assert machine.set_mode(step.status, Mode.OBSERVE, NOW + 6).status is step.status


def test_a_success_and_a_failure_are_a_batch_of_one_in_a_window_of_calls() -> None:
    policy = replace(RATE, window_calls=5, minimum_calls=5)
    status = machine.succeed(Status(), policy, Permit(0), NOW).status
    status = machine.fail(status, policy, Permit(0), NOW, Failure()).status
    assert status == Status(window=Window(recent=".f"))


def test_a_success_clears_a_run_and_is_remembered_with_its_process() -> None:
    heard = Status(last_success_at=NOW + 1, succeeded_by="me")
    step = machine.succeed(run_of_failures(2), POLICY, Permit(0), NOW + 1, ME)
    assert step == Step(heard)
    assert machine.succeed(Status(), POLICY, Permit(0), NOW + 1, ME).status == Status()
    alone = Status(quarantines=(Quarantine("me", NOW, NOW + 10, 1),))
    assert machine.succeed(alone, POLICY, Permit(0), NOW + 1, ME) == Step(heard)


def test_a_refusal_says_who_waits_and_for_how_long() -> None:
    accused = replace(run_of_failures(3, replace(POLICY, threshold=9)), accuser="me")
    waits = [
        machine.admit(accused, POLICY, NOW + after, "a", witness=ME).retry_after
        for after in (0.0, 0.15)
    ]
    assert waits == pytest.approx([0.2, 0.05])
    assert machine.admit(accused, replace(POLICY, threshold=4), NOW, "a", witness=ME).permit
    forced = Status(state=State.OPEN, mode=Mode.FORCED_OPEN, mode_until=NOW + 5)
    assert admit(forced).retry_after == 5


def test_a_process_of_a_rate_that_accuses_waits_for_the_verdict_or_a_second() -> None:
    counts = Window((Bucket(NOW - 4, 4, 4, 0),))
    accused = Status(window=counts, accuser="me", run_started_at=NOW - 0.05, succeeded_by="other")
    admission = machine.admit(accused, RATE, NOW, "a", witness=ME)
    assert (admission.status, admission.permit) == (accused, None)
    assert admission.retry_after == pytest.approx(0.15)


def test_a_trial_is_held_and_given_back_under_its_own_name_only() -> None:
    two = (Quarantine("other", NOW, NOW + 30, 1, "b"), Quarantine("me", NOW, NOW + 30, 1, "a"))
    status = Status(generation=4, quarantines=two)
    held = machine.renew(status, POLICY, Permit(4, "a"), NOW + 20).status
    assert held.quarantines == (two[0], replace(two[1], until=NOW + 50))
    given_back = machine.release(status, Permit(4, "a")).status
    assert given_back.quarantines == (two[0], Quarantine("me", NOW, NOW, 1))
    for permit in (Permit(3, "a"), Permit(4, "c"), Permit(4)):
        assert machine.renew(status, POLICY, permit, NOW + 20).status is status
        assert machine.release(status, permit).status is status
