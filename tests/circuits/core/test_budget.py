"""The budget of retries: what it allows, for any calls and retries, and what it forgets."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from circuits.core import budget, windows
from circuits.core.budget import FLOOR, Spending
from circuits.core.policy import Policy
from circuits.core.windows import Window

NUMBERS = st.integers(min_value=0, max_value=10_000)
SPENDINGS = st.builds(Spending, NUMBERS, NUMBERS)
SHARES = st.floats(min_value=0, max_value=1)


@given(SHARES, st.lists(SPENDINGS, min_size=1, max_size=3))
def test_a_granted_retry_is_within_each_budget(share: float, spendings: list[Spending]) -> None:
    policy = Policy(retry_share=share)
    if budget.may_retry(policy, *spendings):
        for calls, retries in spendings:
            assert retries + 1 <= share * calls + FLOOR + 1e-6
    else:
        assert any(each.retries + 2 > share * each.calls + FLOOR for each in spendings)


def test_the_last_retry_of_every_budget_is_granted_and_none_after_it() -> None:
    policy = Policy(retry_share=0.2)
    last, spent, plenty = Spending(100, 29), Spending(100, 30), Spending(1_000, 0)
    assert budget.may_retry(policy, last)
    assert not budget.may_retry(policy, spent)
    assert budget.may_retry(policy, plenty, last)
    assert not budget.may_retry(policy, plenty, spent)
    assert not budget.may_retry(policy, spent, plenty)


def test_the_lesser_of_two_spendings_is_that_of_each_number() -> None:
    assert Spending(5, 2).at_most(Spending(3, 4)) == Spending(3, 2)
    assert Spending(5, 2).plus(Spending(3, 4)) == Spending(8, 6)


@given(SHARES)
def test_a_process_at_rest_may_retry(share: float) -> None:
    assert budget.may_retry(Policy(retry_share=share), Spending(), Spending())


@given(SHARES, SHARES, SPENDINGS, NUMBERS, NUMBERS)
def test_more_calls_or_a_larger_share_never_take_a_retry_away_and_more_retries_never_give_one(
    first: float, second: float, spent: Spending, calls: int, retries: int
) -> None:
    small, large = (Policy(retry_share=each) for each in sorted((first, second)))
    if budget.may_retry(small, spent):
        assert budget.may_retry(large, spent)
        assert budget.may_retry(small, spent.plus(Spending(calls=calls)))
    else:
        assert not budget.may_retry(small, spent.plus(Spending(retries=retries)))


@settings(deadline=None)
@given(NUMBERS, st.integers(min_value=0, max_value=100))
@example(100, 29)  # 0.29 * 100 is less than 29
def test_a_share_in_whole_percent_is_exact(calls: int, percent: int) -> None:
    share = Policy(retry_share=percent / 100)
    assert budget.allowed(calls, share) == FLOOR + calls * percent // 100


TIMES = st.floats(min_value=0, max_value=300)


@given(st.lists(st.tuples(TIMES, SPENDINGS), max_size=20), TIMES)
def test_what_is_recent_is_what_the_window_still_holds(
    batches: list[tuple[float, Spending]], later: float
) -> None:
    policy = Policy(window_seconds=60)
    window, at = windows.EMPTY, 0.0
    for at, batch in sorted(batches, key=lambda each: each[0]):
        window = budget.merged(window, policy, at, batch)
    now = at + later
    found = budget.recent(window, policy, now)
    surely = [each for then, each in batches if now - then < 54]
    perhaps = [each for then, each in batches if now - then <= 60]
    for number in range(2):
        least, most = (sum(each[number] for each in some) for some in (surely, perhaps))
        assert least <= found[number] <= most


def test_a_window_that_is_not_merged_any_more_is_forgotten_when_it_is_read() -> None:
    policy = Policy(window_seconds=60, window_calls=100)  # which is for the rate strategy alone
    window = budget.merged(windows.EMPTY, policy, 1000.0, Spending(100, 30))
    assert budget.recent(window, policy, 1050.0) == Spending(100, 30)
    assert budget.recent(window, policy, 1061.0) == Spending()
    assert budget.recent(window, policy, 900.0) == Spending()  # a clock was set back


def test_merging_adds_to_the_present_bucket() -> None:
    policy = Policy(window_seconds=60)
    window: Window = windows.EMPTY
    for at in (1002.0, 1003.0, 1009.0):
        window = budget.merged(window, policy, at, Spending(10, 2))
    assert len(window.buckets) == 2
    assert budget.recent(window, policy, 1010.0) == Spending(30, 6)
