"""Recorded calls: packed and unpacked, and replayed with other policies."""

from __future__ import annotations

from itertools import repeat
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.core.policy import Policy, Strategy
from circuits.core.recording import DURATIONS, Call, Ending, packed, unpacked
from circuits.core.replay import Replayed, Stay, replay
from circuits.core.status import State

SINCE = 1_790_000_000.0

CALLS = st.lists(
    st.builds(
        Call,
        st.floats(0, 86_400).map(lambda at: SINCE + at),
        st.floats(0, 4_000),
        st.sampled_from(Ending),
    )
).map(sorted)


# Packing


@given(CALLS)
def test_what_is_packed_is_unpacked(calls: list[Call]) -> None:
    found = list(unpacked(packed(calls, SINCE), SINCE))
    assert [call.ending for call in found] == [call.ending for call in calls]
    for before, after in zip(calls, found, strict=True):
        assert after.ended_at == pytest.approx(before.ended_at, abs=0.001)
        if before.ending is Ending.REFUSED:
            assert after.seconds == 0
        else:
            assert after.seconds == pytest.approx(max(before.seconds, 0.001), rel=0.05)


@given(CALLS, st.data())
def test_what_is_cut_off_is_read_as_far_as_it_goes(calls: list[Call], data: st.DataObject) -> None:
    whole = packed(calls, SINCE)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    found = list(unpacked(cut, SINCE))
    assert found == list(unpacked(whole, SINCE))[: len(found)]


@pytest.mark.parametrize("ending", Ending)
def test_a_gap_of_any_length_is_kept_to_the_millisecond(ending: Ending) -> None:
    for gap in (*range(300), 4_095, 4_096, 524_287, 524_288):
        calls = [Call(gap / 1000, 0.0, Ending.GOOD), Call(2 * gap / 1000, 0.0, ending)]
        found = list(unpacked(packed(calls, 0.0), 0.0))
        assert [call.ended_at for call in found] == [call.ended_at for call in calls]


def test_a_gap_takes_one_byte_up_to_31_milliseconds() -> None:
    sizes = [len(packed([Call(gap / 1000, 0.0, Ending.REFUSED)], 0.0)) for gap in (31, 32)]
    assert sizes == [1, 2]


def test_a_duration_beyond_the_longest_counts_as_the_longest() -> None:
    [found] = unpacked(packed([Call(SINCE, 1e9, Ending.GOOD)], SINCE), SINCE)
    assert found.seconds == DURATIONS[-1]


def test_calls_that_seem_to_end_before_the_one_before_end_with_it() -> None:
    """A clock may be set back by a little while calls are recorded."""
    calls = [Call(0.050, 0.0, Ending.REFUSED), Call(0.040, 0.0, Ending.REFUSED)]
    assert [call.ended_at for call in unpacked(packed(calls, 0.0), 0.0)] == [0.05, 0.05]


def test_a_busy_circuit_takes_three_bytes_a_call() -> None:
    calls = [Call(SINCE + each / 20, 0.1, Ending.GOOD) for each in range(1_000)]
    assert len(packed(calls, SINCE)) < 3 * len(calls)


# Replaying


def played(outcomes: str, policy: Policy, every: float = 1.0, seconds: float = 0.0) -> Replayed:
    """Replay a call each second: ``.`` a success, ``f`` a failure, ``n`` nothing, ``r`` refused."""
    endings = dict(zip(".fnr", Ending, strict=True))
    calls = [
        Call(SINCE + number * every + seconds, seconds, endings[letter])
        for number, letter in enumerate(outcomes)
    ]
    return replay(calls, policy, SINCE, SINCE + len(outcomes) * every)


def test_a_run_opens_and_a_trial_closes() -> None:
    found = played("..fff" + "fffff" + "....", Policy(threshold=3, delay=6))
    assert (found.openings, found.good, found.good_refused) == (1, 6, 0)
    assert (found.bad, found.bad_spared) == (8, 5)
    assert found.down_seconds == 6
    # It opens at the fifth call, and the first one after the delay closes it.
    assert found.stays == (
        Stay(State.CLOSED, SINCE, SINCE + 4),
        Stay(State.OPEN, SINCE + 4, SINCE + 10),
        Stay(State.HALF_OPEN, SINCE + 10, SINCE + 10),
        Stay(State.CLOSED, SINCE + 10, SINCE + 14),
    )


def test_a_larger_threshold_rides_it_out() -> None:
    found = played("..fff...fff..", Policy(threshold=4))
    assert (found.openings, found.bad_spared, found.down_seconds) == (0, 0, 0)
    assert found.stays == (Stay(State.CLOSED, SINCE, SINCE + 13),)


def test_a_failed_trial_opens_it_again_and_is_no_opening_of_its_own() -> None:
    found = played("f" * 20, Policy(threshold=1, delay=5))
    assert found.openings == 1
    assert found.bad_spared == 20 - 1 - 3


def test_an_outcome_counts_when_its_call_ends_and_not_before() -> None:
    calls = [
        Call(SINCE + 8, 8.0, Ending.FAILED),
        Call(SINCE + 1, 0.0, Ending.GOOD),
        Call(SINCE + 8, 0.0, Ending.GOOD),
    ]
    found = replay(calls, Policy(threshold=1, delay=5), SINCE, SINCE + 10)
    assert (found.openings, found.good_refused) == (1, 1), "the last one, which begins then"
    assert found.stays[0] == Stay(State.CLOSED, SINCE, SINCE + 8)


def test_chance_shortens_the_delays_that_have_grown() -> None:
    policy = Policy(threshold=1, delay=4, backoff_factor=2, jitter=1, max_delay=8)
    calls = [Call(SINCE + second, 0.0, Ending.FAILED) for second in range(12)]
    spared = [
        replay(calls, policy, SINCE, SINCE + 12, repeat(share).__next__).bad_spared
        for share in (0.0, 0.5)
    ]
    # Trials come after 4 and 8 more seconds, or after 4 and 4 more.
    assert spared == [10, 9]


def test_good_calls_are_refused_while_it_is_open() -> None:
    found = played("f" + "." * 9, Policy(threshold=1, delay=5))
    assert (found.good, found.good_refused) == (9, 4)


def test_what_nobody_knows_counts_for_nothing() -> None:
    found = played("fnnrrnf", Policy(threshold=2, delay=5))
    assert (found.openings, found.unknown) == (1, 2)
    assert found.stays[0].until == SINCE + 6


def test_an_unknown_call_holds_no_trial() -> None:
    found = played("f" + "r" * 9 + ".", Policy(threshold=1, delay=5))
    assert (found.openings, found.good_refused) == (1, 0)


def test_a_share_of_the_calls_opens_by_rate() -> None:
    policy = Policy(strategy=Strategy.RATE, failure_rate=0.5, minimum_calls=10, window_seconds=60)
    assert played("." * 40 + "f" * 20, policy).openings == 0
    assert played("." * 10 + "f" * 20, policy).openings == 1
    assert played("f" * 5 + "." * 5, policy).openings == 1, "the minimum is reached by a success"
    calls = Policy(strategy=Strategy.RATE, failure_rate=0.5, minimum_calls=10, window_calls=10)
    assert played("." * 40 + "f" * 4, calls).openings == 0
    assert played("." * 40 + "f" * 5, calls).openings == 1


def test_successes_are_merged_as_soon_as_there_are_as_many_as_the_window_must_hold() -> None:
    policy = Policy(strategy=Strategy.RATE, failure_rate=0.3, minimum_calls=4, window_seconds=60)
    found = played("fff" + "." * 7, policy, every=0.125)
    # Three calls are too few; three of seven failed.
    assert [stay.until for stay in found.stays] == [SINCE + 6 * 0.125, SINCE + 10 * 0.125]


def test_successes_are_merged_after_a_twentieth_of_the_window() -> None:
    policy = Policy(strategy=Strategy.RATE, failure_rate=0.3, minimum_calls=4, window_seconds=60)
    calls = [Call(SINCE + each / 8, 0.0, Ending.FAILED) for each in range(3)]
    calls += [Call(SINCE + second, 0.0, Ending.GOOD) for second in (1, 4, 9)]
    assert replay(calls, policy, SINCE, SINCE + 10).stays[0].until == SINCE + 4


@pytest.mark.parametrize("strategy", [Strategy.CONSECUTIVE, Strategy.RATE])
def test_a_slow_call_counts_before_it_ends(strategy: Strategy) -> None:
    policy = Policy(
        strategy=strategy, threshold=3, minimum_calls=3, slow_call_seconds=2, slow_call_rate=0.9
    )
    found = played("....." * 4, policy, seconds=8.0)
    assert found.openings == 1
    assert found.stays[0].until == SINCE + 4, "the third call is slow after two seconds"
    assert played("....." * 4, Policy(threshold=3), seconds=8.0).openings == 0


def test_a_throttled_circuit_refuses_a_share_of_slow_calls_and_never_opens() -> None:
    policy = Policy(
        strategy=Strategy.THROTTLE, minimum_calls=3, slow_call_seconds=2, slow_call_rate=0.5
    )
    calls = [Call(SINCE + each + 8, 8.0, Ending.GOOD) for each in range(100)]
    found = replay(calls, policy, SINCE, SINCE + 110, Random(17).random)
    assert found.openings == 0
    assert 50 <= found.good_refused <= 95


def test_a_share_enforced_spares_that_share() -> None:
    calls = [Call(SINCE + each / 100, 0.0, Ending.FAILED) for each in range(2_000)]
    policy = Policy(threshold=1, delay=3_600, enforce_share=0.25)
    found = replay(calls, policy, SINCE, SINCE + 20, Random(17).random)
    assert found.bad_spared == pytest.approx(500, abs=100)


@given(CALLS, st.integers(1, 5), st.sampled_from(Strategy))
def test_it_tells_of_every_call_and_of_the_whole_time(
    calls: list[Call], threshold: int, strategy: Strategy
) -> None:
    policy = Policy(threshold=threshold, strategy=strategy, minimum_calls=threshold)
    begun = sorted(calls, key=lambda call: call.began_at)
    found = replay(begun, policy, SINCE, SINCE + 90_000)
    endings = [call.ending for call in calls]
    assert found.good == endings.count(Ending.GOOD)
    assert found.bad == endings.count(Ending.FAILED)
    assert found.unknown == endings.count(Ending.REFUSED)
    assert found.good_refused <= found.good
    assert found.bad_spared <= found.bad
    assert found.stays[-1].until == SINCE + 90_000
    assert all(a.until == b.since for a, b in zip(found.stays, found.stays[1:], strict=False))


@given(CALLS)
def test_a_policy_that_never_opens_changes_nothing(calls: list[Call]) -> None:
    begun = sorted(calls, key=lambda call: call.began_at)
    found = replay(begun, Policy(threshold=1_000_000), SINCE, SINCE + 90_000)
    assert (found.openings, found.good_refused, found.bad_spared, found.down_seconds) == (0,) * 4
