"""The sliding windows of the rate strategy, compared with a naive list of calls."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.core import machine, windows
from circuits.core.policy import Policy, Strategy
from circuits.core.status import Batch, Change, Failure, Mode, Permit, Reason, State, Status
from circuits.core.windows import Bucket, Counts, Window
from circuits.process.tallies import MOST_HEARD, OwnWindow

LETTERS = st.text(alphabet=".fs", min_size=1, max_size=20)

#: Batches of outcomes, each with the seconds since the one before.
HISTORY = st.lists(st.tuples(st.floats(0, 30), LETTERS), min_size=1, max_size=30)


def merge_all(history: list[tuple[float, str]], policy: Policy) -> tuple[Window, float]:
    window, now = windows.EMPTY, 1_000_000.0
    for passed, heard in history:
        now += passed
        window = windows.merged(window, policy, now, windows.counted(heard), heard)
    return window, now


@dataclass
class NaiveCalls:
    """Keeps every call with its time, as a window without buckets would."""

    calls: list[tuple[float, str]]

    @classmethod
    def of(cls, history: list[tuple[float, str]]) -> NaiveCalls:
        now, calls = 1_000_000.0, []
        for passed, heard in history:
            now += passed
            calls += [(now, letter) for letter in heard]
        return cls(calls)

    def within(self, seconds: float) -> Counts:
        end = self.calls[-1][0]
        return windows.counted(letter for at, letter in self.calls if at > end - seconds)


@given(HISTORY)
def test_a_window_of_time_is_right_to_a_tenth(history: list[tuple[float, str]]) -> None:
    policy = Policy(window_seconds=60)
    window, _ = merge_all(history, policy)
    naive = NaiveCalls.of(history)
    # A little slack at both ends, since a call on an edge may fall on either side.
    for kept, least, most in zip(
        windows.totals(window), naive.within(54 - 1e-6), naive.within(60 + 1e-6), strict=True
    ):
        assert least <= kept <= most


@given(HISTORY, st.integers(1, 50))
def test_a_window_of_calls_is_exact(history: list[tuple[float, str]], size: int) -> None:
    window, _ = merge_all(history, Policy(window_calls=size))
    assert window.recent == "".join(heard for _, heard in history)[-size:]
    assert windows.totals(window) == windows.counted(window.recent)


@given(HISTORY)
def test_a_window_of_time_stays_small(history: list[tuple[float, str]]) -> None:
    window, _ = merge_all(history, Policy(window_seconds=60))
    assert len(window.buckets) <= windows.BUCKETS
    starts = [bucket.start for bucket in window.buckets]
    assert starts == sorted(set(starts))


def test_a_window_holds_either_buckets_or_calls_when_the_policy_changes() -> None:
    calls = windows.merged(windows.EMPTY, Policy(window_calls=5), 60.0, Counts(2, 1, 0), ".f")
    assert calls == Window(recent=".f")
    of_time = windows.merged(calls, Policy(window_seconds=60), 60.0, Counts(1, 1, 0), "f")
    assert of_time == Window(buckets=(Bucket(60.0, 1, 1, 0),))
    assert windows.merged(of_time, Policy(window_calls=5), 60.0, Counts(1), ".") == Window((), ".")


def test_a_clock_set_back_leaves_no_bucket_in_the_future() -> None:
    policy = Policy(window_seconds=60)
    window = windows.merged(windows.EMPTY, policy, 10_000, Counts(9, 9, 0), "f" * 9)
    window = windows.merged(window, policy, 6_400, Counts(1, 0, 0), ".")
    assert windows.totals(window) == Counts(1, 0, 0)


def counted_at(at: float, now: float, window_seconds: float) -> int:
    """Return how many calls of a moment a window still counts at a later one."""
    policy = Policy(window_seconds=window_seconds)
    one = windows.merged(windows.EMPTY, policy, at, Counts(1, 1, 0), "f")
    return windows.totals(windows.merged(one, policy, now, Counts(), "")).calls


@pytest.mark.parametrize("seconds", [1, 1.000007, 1.7, 3, 7, 10, 59.9, 60, 3600])
def test_a_call_has_left_a_window_of_time_once_that_has_passed(seconds: float) -> None:
    width = seconds / windows.BUCKETS
    # These moments are at the edges of buckets, where a float may fall on either side.
    for began in (0.0, 1000.0, 1_764_000_000.0):
        for part in range(200):
            for hair in (-0.000001, 0.0, 0.000001, width / 2):
                at = round(began + part * width + hair, 6)
                assert counted_at(at, round(at + seconds, 6), seconds) == 0
                assert counted_at(at, round(at + 0.9 * seconds - 0.00002, 6), seconds) == 1


@dataclass(frozen=True)
class Limit:
    """The fields of a policy that a window needs."""

    failure_rate: float
    minimum_calls: int = 1
    window_calls: int = 0


def test_a_share_of_k_of_n_calls_reaches_a_limit_of_k_of_n() -> None:
    for calls in range(1, 1001):
        for failed in range(1, calls + 1):
            policy: Any = Limit(failed / calls)
            assert windows.too_many_failures(Counts(calls, failed), policy)
            assert not windows.too_many_failures(Counts(calls, failed - 1), policy)


def test_a_share_reaches_a_limit_that_is_written_with_a_point() -> None:
    for thousandths in range(1, 1001):
        policy: Any = Limit(float(f"0.{thousandths:03}") if thousandths < 1000 else 1.0)
        for times in (1, 3, 7):
            calls, failed = 1000 * times, thousandths * times
            assert windows.too_many_failures(Counts(calls, failed), policy)
            assert not windows.too_many_failures(Counts(calls, failed - 1), policy)


# In the machine


def batch(heard: str, generation: int = 0) -> Batch:
    return Batch(generation=generation, counts=windows.counted(heard), recent=heard)


RATE = Policy(strategy=Strategy.RATE, minimum_calls=4, failure_rate=0.5)


@given(st.lists(LETTERS, max_size=10))
def test_the_circuit_opens_at_the_merge_that_reaches_the_rate(batches: list[str]) -> None:
    status, heard = Status(), ""
    for each in batches:
        heard += each
        step = machine.merge(status, RATE, 100.0, batch(each))
        should_open = len(heard) >= 4 and heard.count("f") * 2 >= len(heard)
        should_open = should_open and "f" in heard
        assert (step.status.state is State.OPEN) == should_open
        assert (step.change is not None) == should_open
        if should_open:
            assert step.change is not None
            assert step.change.reason is Reason.FAILURE_RATE
            assert step.status.window == windows.EMPTY
            return
        status = step.status


@given(LETTERS, LETTERS)
def test_what_one_call_at_a_time_merges_is_what_a_batch_merges(first: str, second: str) -> None:
    policy = Policy(strategy=Strategy.RATE, minimum_calls=1000)
    together = machine.merge(Status(), policy, 50.0, batch(first + second)).status
    apart = machine.merge(Status(), policy, 50.0, batch(first)).status
    apart = machine.merge(apart, policy, 50.0, batch(second)).status
    assert windows.totals(together.window) == windows.totals(apart.window)


def test_the_order_of_reports_within_the_machine_makes_no_window_run_ahead() -> None:
    status = Status()
    for letter in ".f.f":
        permit = Permit(status.generation)
        if letter == "f":
            status = machine.fail(status, RATE, permit, 10.0, Failure()).status
        else:
            status = machine.succeed(status, RATE, permit, 10.0).status
    assert status.state is State.OPEN


def test_too_few_calls_open_nothing() -> None:
    assert machine.merge(Status(), RATE, 1.0, batch("fff")).status.state is State.CLOSED


def test_a_window_of_fewer_calls_than_the_minimum_counts_when_full() -> None:
    policy = Policy(strategy=Strategy.RATE, minimum_calls=10, window_calls=3, failure_rate=1)
    assert machine.merge(Status(), policy, 1.0, batch("ff")).status.state is State.CLOSED
    assert machine.merge(Status(), policy, 1.0, batch("fff")).status.state is State.OPEN


def test_slow_calls_open_by_their_own_rate() -> None:
    policy = Policy(
        strategy=Strategy.RATE, minimum_calls=4, slow_call_seconds=2, slow_call_rate=0.75
    )
    assert machine.merge(Status(), policy, 1.0, batch("ss..")).change is None
    change = machine.merge(Status(), policy, 1.0, batch("sss.")).change
    assert isinstance(change, Change)
    assert change.reason is Reason.SLOW_CALLS


def test_a_batch_of_another_generation_changes_nothing() -> None:
    status = Status(generation=3)
    assert machine.merge(status, RATE, 1.0, batch("ffff", generation=2)).status is status


@pytest.mark.parametrize("state", [State.OPEN, State.HALF_OPEN])
def test_only_a_closed_circuit_merges(state: State) -> None:
    status = Status(state=state, retry_at=5.0)
    assert machine.merge(status, RATE, 1.0, batch("ffff")).status is status


def test_forced_closed_records_and_never_trips() -> None:
    step = machine.merge(Status(mode=Mode.FORCED_CLOSED), RATE, 1.0, batch("ffff"))
    assert step.change is None
    assert windows.totals(step.status.window).failures == 4


def test_a_reset_forgets_the_window() -> None:
    status = machine.merge(Status(), RATE, 1.0, batch("ff")).status
    assert machine.reset(status, 2.0).status.window == windows.EMPTY


# In one process


def test_an_own_window_past_the_limit_is_seen_before_any_merge() -> None:
    own = OwnWindow(0)
    for letter in "ff.":
        own.hear(letter)
    assert not own.is_past_limit(RATE, 10.0)
    own.hear("f")
    assert own.is_past_limit(RATE, 10.0)


def test_an_own_window_gives_each_outcome_once_and_goes_on_knowing_them() -> None:
    own = OwnWindow(0)
    for letter in "ff.":
        own.hear(letter)
    assert own.take(RATE, 10.0) == "ff."
    assert own.take(RATE, 10.0) == ""
    own.hear("f")
    assert own.is_past_limit(RATE, 10.0)
    assert own.take(RATE, 10.0) == "f"


def test_an_own_window_forgets_with_time() -> None:
    own = OwnWindow(0)
    for _ in range(4):
        own.hear("f")
    own.take(RATE, 10.0)
    own.hear(".")
    assert not own.is_past_limit(RATE, 100.0)


def test_what_could_not_be_merged_is_taken_first_the_next_time() -> None:
    own = OwnWindow(0)
    own.hear("f")
    own.give_back(own.take(RATE, 10.0), 10.0)
    own.hear(".")
    own.give_back(own.take(RATE, 11.0), 11.0)
    own.hear("f")
    assert own.take(RATE, 12.0) == "f.f"
    assert own.take(RATE, 12.0) == ""


def test_what_was_given_back_is_not_counted_twice_by_its_process() -> None:
    own = OwnWindow(0)
    for letter in "ff.":
        own.hear(letter)
    for _ in range(3):
        own.give_back(own.take(RATE, 10.0), 10.0)
    assert not own.is_past_limit(RATE, 10.0)


def test_what_was_given_back_is_dropped_when_it_has_left_the_window() -> None:
    own = OwnWindow(0)
    own.hear("f")
    own.give_back(own.take(RATE, 10.0), 10.0)
    own.hear(".")
    assert own.take(RATE, 10.0 + RATE.window_seconds) == "."


def test_no_more_is_kept_of_what_cannot_be_merged_than_there_is_room_for() -> None:
    own = OwnWindow(0)
    for _ in range(3):
        for _ in range(MOST_HEARD):
            own.hear("f")
        own.is_past_limit(RATE, 10.0)
        for _ in range(MOST_HEARD - 1):
            own.hear(".")
        own.is_past_limit(RATE, 10.0)
        own.give_back(own.take(RATE, 10.0), 10.0)
    assert own.take(RATE, 10.0) == "f" + "." * (MOST_HEARD - 1)


def test_what_two_threads_could_not_merge_is_all_kept() -> None:
    own = OwnWindow(0)
    own.hear("f")
    first = own.take(RATE, 10.0)
    own.hear(".")
    second = own.take(RATE, 10.0)
    own.give_back(first, 10.0)
    own.give_back(second, 10.0)
    assert sorted(own.take(RATE, 10.0)) == [".", "f"]


@pytest.mark.parametrize("looks", [False, True])
def test_what_is_heard_and_not_taken_fills_no_memory(looks: bool) -> None:
    own = OwnWindow(0)
    tracemalloc.start()
    try:
        for _ in range(10):
            for _ in range(MOST_HEARD):
                own.hear(".")
            if looks:
                own.is_past_limit(RATE, 10.0)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 9 * MOST_HEARD, "a pointer for each there is room for, and some change"


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        (Counts(61, 26), "42.6 % of 61 calls failed, limit 30 %"),
        (Counts(1_000, 300), "30 % of 1000 calls failed, limit 30 %"),
        (Counts(1_000, 299, 700), "70 % of 1000 calls were slow, limit 70 %"),
        (Counts(1_000, 299, 699), ""),
        (Counts(9, 9, 9), ""),
    ],
)
def test_it_is_told_which_share_has_reached_its_limit(counts: Counts, told: str) -> None:
    policy = Policy(
        strategy=Strategy.RATE,
        minimum_calls=10,
        failure_rate=0.3,
        slow_call_seconds=1,
        slow_call_rate=0.7,
    )
    assert windows.evidence(counts, policy) == told
