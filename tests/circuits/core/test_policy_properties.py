"""Properties of policies in the machine, which hold for any numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.core import machine
from circuits.core.policy import Policy
from circuits.core.status import Failure, Lease, Mode, Permit, Reason, State, Status
from circuits.exceptions import InvalidInputError
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


# Enforcing a share of the refusals


def refusing(kind: str) -> tuple[Status, Policy]:
    """Return a circuit that refuses a call and has no trial to give, and its policy."""
    taken = (Lease("other", NOW + 20),)
    statuses = {
        "open": Status(state=State.OPEN, opened_at=NOW - 1, retry_at=NOW + 9),
        "half open": Status(state=State.HALF_OPEN, leases=taken),
        "ramping up": recovered(1),
    }
    return statuses[kind], Policy(ramp_up_seconds=3e7)  # of which a tenth passes so far


KINDS = st.sampled_from(["open", "half open", "ramping up"])


@given(KINDS, st.floats(0, 1), CHANCE)
def test_a_refusal_that_is_not_enforced_passes_and_counts_for_nothing(
    kind: str, share: float, chance: float
) -> None:
    status, policy = refusing(kind)
    policy = replace(policy, enforce_share=share)
    admission = machine.admit(status, policy, NOW, "token", chance)
    assert admission.status is status
    if admission.retry_after is None:
        assert (kind, admission.permit) == ("ramping up", Permit(status.generation))
        return
    assert admission.retry_after > 0
    assert admission.permit in (None, Permit(status.generation, counts=False))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("kind", ["open", "half open", "ramping up"])
def test_so_large_a_share_of_the_refusals_is_real(kind: str, share: float) -> None:
    status, policy = refusing(kind)
    policy = replace(policy, enforce_share=share)
    calls = [machine.admit(status, policy, NOW, "", each / 10_000) for each in range(10_000)]
    refusals = [call for call in calls if call.retry_after is not None]
    real = [call for call in refusals if call.permit is None]
    assert len(refusals) == pytest.approx(9_000 if kind == "ramping up" else 10_000, abs=2)
    assert len(real) == pytest.approx(share * len(refusals), abs=2)


# In a ramp-up, the rest of the chance decides again which calls are refused.
@given(st.sampled_from(["open", "half open"]), CHANCE, st.floats(0, 1), st.floats(0, 1))
def test_who_is_refused_is_refused_by_a_larger_share_too(
    kind: str, chance: float, first: float, second: float
) -> None:
    status, policy = refusing(kind)
    small, large = (replace(policy, enforce_share=each) for each in sorted((first, second)))
    if machine.admit(status, small, NOW, "", chance).permit is None:
        assert machine.admit(status, large, NOW, "", chance).permit is None


@given(KINDS, CHANCE)
def test_the_whole_share_refuses_as_ever_and_none_observes(kind: str, chance: float) -> None:
    status, policy = refusing(kind)
    plain = machine.admit(status, policy, NOW, "", chance)
    assert machine.admit(status, replace(policy, enforce_share=1.0), NOW, "", chance) == plain
    observed = machine.admit(replace(status, mode=Mode.OBSERVE), policy, NOW, "", chance)
    none = machine.admit(status, replace(policy, enforce_share=0.0), NOW, "", chance)
    assert (none.permit, none.retry_after) == (observed.permit, observed.retry_after)


@given(st.floats(0, 1), CHANCE)
def test_a_trial_stays_a_trial_however_little_is_enforced(share: float, chance: float) -> None:
    due = Status(state=State.OPEN, opened_at=NOW - 20, retry_at=NOW - 1)
    admission = machine.admit(due, Policy(enforce_share=share), NOW, "token", chance)
    assert admission.permit == Permit(1, "token")


@given(st.floats(0, 1), CHANCE)
def test_forced_open_refuses_all_however_little_is_enforced(share: float, chance: float) -> None:
    status = Status(state=State.OPEN, mode=Mode.FORCED_OPEN, opened_at=NOW, retry_at=NOW)
    policy = Policy(enforce_share=share)
    assert machine.admit(status, policy, NOW, "", chance).permit is None
    assert machine.enforced_share(Mode.FORCED_OPEN, policy) == 1.0


# Retry-After


@given(st.floats(0, 1e12, exclude_min=True), SECONDS, SECONDS)
def test_what_the_remote_asks_for_is_heeded_up_to_the_cap(
    asked: float, delay: float, max_delay: float
) -> None:
    policy = Policy(respect_retry_after=True, delay=delay, max_delay=max_delay)
    step = machine.fail(Status(), policy, Permit(0), NOW, Failure(retry_after=asked))
    assert step.change is not None
    assert step.change.reason is Reason.RETRY_AFTER
    assert step.status.retry_at == NOW + min(asked, max(delay, max_delay))


@pytest.mark.parametrize("nothing", [None, 0, 0.0, -60])
def test_a_remote_that_asks_for_no_time_asks_for_nothing(nothing: float | None) -> None:
    policy = Policy(respect_retry_after=True, threshold=5)
    step = machine.fail(Status(), policy, Permit(0), NOW, Failure(own_run=1, retry_after=nothing))
    assert (step.change, step.status.failure_count) == (None, 1)


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
    lease = Lease("t", NOW + 30)
    status = Status(state=State.HALF_OPEN, reopen_count=failed, leases=(lease,))
    failure = Failure(chance=chance, retry_after=asked)
    step = machine.fail(status, policy, Permit(0, "t"), NOW, failure)
    grown = machine.grown_delay(policy, failed + 1, chance)
    assert step.status.retry_at == NOW + max(grown, min(asked, 1_000))


# Failure statuses

RANGE = st.tuples(st.integers(100, 999), st.integers(100, 999)).map(sorted)


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
    assert all(100 <= status <= 999 for status in found)
