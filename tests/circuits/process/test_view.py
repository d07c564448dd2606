"""The answers that a snapshot gives without a query: a pure function, tested by a table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.core import machine
from circuits.core.policy import Policy
from circuits.core.status import Lease, Mode, Permit, State, Status
from circuits.core.windows import Bucket, Window
from circuits.process.view import NEVER, View, view_of
from circuits.storage.contract import Snapshot

#: The time on the store's clock when it answered, and on the clock of this process.
NOW, READ_AT = 5_000.0, 1_000.0

SECONDS = 0.2
FRESH = READ_AT + SECONDS


PLAIN = Policy()


def snapshot(policy: Policy = PLAIN, **status: Any) -> Snapshot:
    return Snapshot(
        name="payments",
        status=Status(generation=4, **status),
        policy=policy,
        timeout=10.0,
        failure_statuses=None,
        now=NOW,
        read_at=READ_AT,
        known_at=READ_AT,
    )


def view(of: Snapshot) -> View[Permit]:
    return view_of(of, lambda permit: permit, seconds=SECONDS)


OPEN: dict[str, Any] = {"state": State.OPEN, "opened_at": NOW - 1}
HALF_OPEN: dict[str, Any] = {"state": State.HALF_OPEN}
RATE = Policy(strategy="rate")  # type: ignore[arg-type]
THROTTLE = Policy(strategy="throttle")  # type: ignore[arg-type]
SLOW = Policy(slow_call_seconds=2)


def failed(number: int, at: float = NOW) -> Window:
    """Return a window in which this many calls of 100 have failed."""
    return Window(buckets=(Bucket(at - at % 6, 100, number, 0),))


#: What is known, and until when calls pass, are timed, are refused, and succeed without a query.
TABLE = {
    "closed": (snapshot(), (FRESH, NEVER, NEVER, FRESH)),
    "closed, counting": (snapshot(failure_count=2), (FRESH, NEVER, NEVER, NEVER)),
    "closed, by rate": (snapshot(RATE), (FRESH, NEVER, NEVER, NEVER)),
    "throttled": (snapshot(THROTTLE, window=failed(51)), (NEVER, NEVER, NEVER, NEVER)),
    "not throttled": (snapshot(THROTTLE, window=failed(50)), (FRESH, NEVER, NEVER, NEVER)),
    "throttled a minute ago": (
        snapshot(THROTTLE, window=failed(99, NOW - 60)),
        (FRESH, NEVER, NEVER, NEVER),
    ),
    "closed, slow calls": (snapshot(SLOW), (NEVER, FRESH, NEVER, NEVER)),
    "closed, limited": (snapshot(Policy(max_concurrent=2)), (NEVER, NEVER, NEVER, FRESH)),
    "ramping up": (
        snapshot(Policy(ramp_up_seconds=60), recovered_at=NOW - 10),
        (NEVER, NEVER, NEVER, FRESH),
    ),
    "ramped up": (
        snapshot(Policy(ramp_up_seconds=60), recovered_at=NOW - 60),
        (FRESH, NEVER, NEVER, FRESH),
    ),
    "open for long": (snapshot(**OPEN, retry_at=NOW + 9), (NEVER, NEVER, FRESH, FRESH)),
    "open for a moment": (
        snapshot(**OPEN, retry_at=NOW + 0.125),
        (NEVER, NEVER, READ_AT + 0.125, FRESH),
    ),
    "open, enforced in part": (
        snapshot(Policy(enforce_share=0.999), **OPEN, retry_at=NOW + 9),
        (NEVER, NEVER, NEVER, FRESH),
    ),
    "open, expired": (snapshot(**OPEN, retry_at=NOW), (NEVER, NEVER, NEVER, FRESH)),
    "half open, free": (snapshot(**HALF_OPEN), (NEVER, NEVER, NEVER, FRESH)),
    "half open, taken": (
        snapshot(**HALF_OPEN, leases=(Lease("t", NOW + 30),)),
        (NEVER, NEVER, FRESH, FRESH),
    ),
    "half open, lease ends": (
        snapshot(**HALF_OPEN, leases=(Lease("t", NOW + 0.125),)),
        (NEVER, NEVER, READ_AT + 0.125, FRESH),
    ),
    "forced open": (
        snapshot(**OPEN, mode=Mode.FORCED_OPEN, retry_at=NOW),
        (NEVER, NEVER, FRESH, FRESH),
    ),
    "forced closed, counting": (
        snapshot(mode=Mode.FORCED_CLOSED, failure_count=9),
        (FRESH, NEVER, NEVER, NEVER),
    ),
    "observed, open": (
        snapshot(**OPEN, mode=Mode.OBSERVE, retry_at=NOW + 9),
        (NEVER, NEVER, NEVER, FRESH),
    ),
    "mode is over": (
        snapshot(mode=Mode.FORCED_CLOSED, mode_until=NOW - 1),
        (NEVER, NEVER, NEVER, FRESH),
    ),
}


@pytest.mark.parametrize(("known", "expected"), TABLE.values(), ids=TABLE)
def test_what_is_answered_from_memory_and_for_how_long(
    known: Snapshot, expected: tuple[float, ...]
) -> None:
    seen = view(known)
    assert (seen.passes_until, seen.times_until, seen.refuses_until, seen.plain_until) == expected
    assert seen.fresh_until == FRESH
    assert seen.snapshot is known


def test_calls_that_pass_carry_the_generation() -> None:
    assert view(snapshot()).leave == Permit(4)


def test_plain_calls_share_a_ticket_once_one_of_them_is_timed() -> None:
    new = view(snapshot())
    assert new.shares_until == NEVER
    assert new.shared().shares_until == FRESH
    assert view(snapshot(RATE)).shared().shares_until == NEVER


def test_a_failure_counted_here_makes_each_success_say_so() -> None:
    counting = view(snapshot()).with_run()
    assert (counting.is_counting, counting.plain_until) == (True, NEVER)
    assert counting.passes_until == FRESH
    ended = counting.without_run()
    assert (ended.is_counting, ended.plain_until) == (False, FRESH)


@pytest.mark.parametrize("policy", [RATE, SLOW], ids=["rate", "slow calls"])
def test_the_end_of_a_run_makes_no_success_plain_that_has_more_to_say(policy: Policy) -> None:
    assert view(snapshot(policy, failure_count=1)).without_run().plain_until == NEVER


def test_an_expired_view_answers_nothing_and_forgets_nothing() -> None:
    for known, _ in TABLE.values():
        seen = view(known).expired()
        answers = (seen.fresh_until, seen.passes_until, seen.times_until, seen.refuses_until)
        assert {*answers, seen.plain_until} == {NEVER}
        assert seen.snapshot is known


@given(
    st.sampled_from(list(TABLE)),
    st.floats(0, SECONDS, exclude_max=True),
    st.floats(0, 1, exclude_max=True),
)
def test_the_machine_says_the_same_at_every_moment_of_the_view(
    key: str, later: float, chance: float
) -> None:
    known, _ = TABLE[key]
    seen, at = view(known), READ_AT + later
    admission = machine.admit(known.status, known.policy, known.time(at), "t", chance)
    if at < max(seen.passes_until, seen.times_until):
        assert admission.permit == seen.leave
        assert admission.status is known.status
    if at < seen.refuses_until:
        assert admission.permit is None
        assert admission.retry_after is not None
