"""Properties of the policies in the machine, for whatever numbers they are given."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from circuits import machine
from circuits.exceptions import InvalidInputError
from circuits.machine import Failure, Mode, Permit, Policy, Reason, State, Status
from circuits.validation import parse_statuses

SECONDS = st.floats(0, 10_000)
CHANCE = st.floats(0, 1, exclude_max=True)
NOW = 1_000_000.0

# The ramp-up


def recovered(ago: float) -> Status:
    return Status(generation=3, recovered_at=NOW - ago)


@given(SECONDS, st.floats(1, 10_000), CHANCE)
def test_a_ramp_up_refuses_briefly_or_gives_a_permit(
    ago: float, ramp: float, chance: float
) -> None:
    policy = Policy(ramp_up_seconds=ramp)
    status = recovered(ago)
    admission = machine.admit(status, policy, NOW, "token", chance)
    assert admission.status is status
    if admission.permit is None:
        assert ago < ramp
        assert admission.retry_after is not None
        assert 0 < admission.retry_after <= min(ramp - ago + 1e-6, machine.TRIAL_RETRY_SECONDS)
    else:
        assert admission.permit == Permit(3)
        assert admission.retry_after is None


@given(SECONDS, SECONDS, st.floats(1, 10_000), CHANCE)
def test_who_passes_early_in_a_ramp_up_passes_later_too(
    first: float, second: float, ramp: float, chance: float
) -> None:
    policy = Policy(ramp_up_seconds=ramp)
    early, late = sorted((first, second))
    if machine.admit(recovered(early), policy, NOW, "", chance).permit:
        assert machine.admit(recovered(late), policy, NOW, "", chance).permit


@given(st.floats(1, 10_000), st.floats(-10_000, 10_000))
def test_a_ramp_up_ends_even_if_the_clock_was_set_back(ramp: float, ago: float) -> None:
    policy = Policy(ramp_up_seconds=ramp)
    assert 0 <= machine.ramp_remaining(recovered(ago), policy, NOW) <= ramp
    assert machine.admit(recovered(ago), policy, NOW, "", 0.0).permit, "some always pass"


@given(SECONDS, CHANCE)
def test_observe_mode_refuses_nothing_in_a_ramp_up(ago: float, chance: float) -> None:
    status = replace(recovered(ago), mode=Mode.OBSERVE)
    assert machine.admit(status, Policy(ramp_up_seconds=5_000), NOW, "", chance).permit


# Retry-After


@given(st.floats(0, 1e12), SECONDS, SECONDS)
def test_what_the_remote_asks_for_is_heeded_up_to_the_cap(
    asked: float, delay: float, max_delay: float
) -> None:
    policy = Policy(respect_retry_after=True, delay=delay, max_delay=max_delay)
    step = machine.fail(Status(), policy, Permit(0), NOW, Failure(retry_after=asked))
    assert step.change is not None
    assert step.change.reason is Reason.RETRY_AFTER
    assert step.status.retry_at == NOW + min(asked, max(delay, max_delay))


@given(st.floats(0, 1e12))
def test_what_the_remote_asks_for_is_ignored_by_default(asked: float) -> None:
    failure = Failure(own_run=1, retry_after=asked)
    step = machine.fail(Status(), Policy(), Permit(0), NOW, failure)
    assert (step.change, step.status.failure_count) == (None, 1)


@given(st.floats(0, 1e6), st.integers(0, 20), CHANCE)
def test_a_failed_trial_waits_for_the_longer_of_both(
    asked: float, failed: int, chance: float
) -> None:
    policy = Policy(respect_retry_after=True, backoff_factor=2, jitter=1, max_delay=1_000)
    lease = machine.Lease("t", NOW + 30)
    status = Status(state=State.HALF_OPEN, reopen_count=failed, leases=(lease,))
    failure = Failure(chance=chance, retry_after=asked)
    step = machine.fail(status, policy, Permit(0, "t"), NOW, failure)
    grown = machine.grown_delay(policy, failed + 1, chance)
    assert step.status.retry_at == NOW + max(grown, min(asked, 1_000))


# Failure statuses

RANGE = st.tuples(st.integers(100, 599), st.integers(100, 599)).map(sorted)


@given(st.lists(RANGE, min_size=1, max_size=5))
def test_statuses_are_read_as_they_are_written(ranges: list[list[int]]) -> None:
    text = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)
    expected = {status for first, last in ranges for status in range(first, last + 1)}
    assert parse_statuses(text) == expected


@given(st.text(max_size=30))
def test_no_text_for_statuses_breaks_it(text: str) -> None:
    try:
        found = parse_statuses(text)
    except InvalidInputError:
        return
    assert all(100 <= status <= 599 for status in found)
