"""The tallies of a process: exact under threads, and complete after a failed write."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.core.budget import Spending
from circuits.core.latency import histogram
from circuits.core.policy import Policy
from circuits.core.status import Batch, Witness
from circuits.core.windows import Counts, Outcome
from circuits.process.tallies import MOST_GENERATIONS, MOST_HEARD, MOST_TIMED, Taken, Tallies
from tests.concurrency import in_threads

RATE = Policy(strategy="rate", minimum_calls=4, failure_rate=0.5)  # type: ignore[arg-type]


def test_threads_that_tick_while_others_take_and_give_back_lose_nothing() -> None:
    tallies = Tallies()
    written = {"successes": 0, "failures": 0, "refusals": 0}

    def work(index: int) -> None:
        for number in range(3_000):
            next(tallies.successes)
            next(tallies.failures)
            next(tallies.refusals)
            if index == 0:
                write(number)

    def write(number: int) -> None:
        taken = tallies.take()
        if taken is None:
            return
        if number % 3 == 0:
            tallies.give_back(taken)
            return
        written["successes"] += taken.successes
        written["failures"] += taken.failures
        written["refusals"] += sum(taken.refused.values())

    in_threads(6, work)
    write(1)
    assert set(written.values()) == {6 * 3_000}
    assert tallies.take() is None


def test_durations_that_could_not_be_written_are_written_with_the_next() -> None:
    tallies = Tallies()
    tallies.time(0.3)
    next(tallies.successes)
    taken = tallies.take()
    assert taken is not None
    assert taken.durations == histogram([0.3])
    tallies.give_back(taken)
    tallies.time(4.0)
    again = tallies.take()
    assert again is not None
    assert again.durations == histogram([0.3, 4.0])
    assert tallies.take() is None


def test_a_busy_process_keeps_the_last_durations_of_a_flush() -> None:
    tallies = Tallies()
    for _ in range(MOST_TIMED):
        tallies.time(9.0)
    for _ in range(MOST_TIMED):
        tallies.time(0.001)
    taken = tallies.take()
    assert taken is not None
    assert taken.durations == histogram([0.001] * MOST_TIMED)


def test_refusals_belong_to_the_generation_that_refused() -> None:
    tallies = Tallies()
    tallies.refuse_by(3)
    next(tallies.refusals)
    tallies.refuse_by(4)
    next(tallies.refusals)
    next(tallies.refusals)
    taken = tallies.take()
    assert taken is not None
    assert taken.refused == {3: 1, 4: 2}


def test_a_success_ends_the_own_run_and_another_generation_begins_one() -> None:
    tallies = Tallies()
    assert [tallies.add_failure(1) for _ in range(3)] == [1, 2, 3]
    tallies.run_cleared = tallies.run_failed  # what a success does
    assert tallies.add_failure(1) == 1
    assert tallies.add_failure(2) == 1


def test_a_process_that_begins_anew_forgets_its_run_and_its_window() -> None:
    tallies = Tallies()
    tallies.open_window(1)
    assert tallies.window is not None
    for _ in range(4):
        tallies.add_failure(1)
        tallies.window.hear(Outcome.FAILED)
    assert tallies.is_past_limit(RATE, now=0.0)
    tallies.begin_anew()
    assert tallies.own_run == 0
    assert not tallies.is_past_limit(RATE, now=0.0)
    assert tallies.add_failure(1) == 1


def test_no_failure_of_many_threads_is_missing_from_the_own_run() -> None:
    tallies = Tallies()
    runs = in_threads(8, lambda index: [tallies.add_failure(1) for _ in range(500)])
    assert sorted(length for each in runs for length in each) == list(range(1, 8 * 500 + 1))


@pytest.mark.parametrize("refused_twice", [False, True])
def test_a_batch_that_could_not_be_merged_comes_again_before_what_came_after(
    refused_twice: bool,
) -> None:
    tallies = Tallies()
    tallies.open_window(1)
    hear(tallies, "f.")
    for _ in range(2 if refused_twice else 1):
        taken = tallies.take_batch(RATE, 10.0, 5.0)
        assert taken is not None
        window, heard, _ = taken
        tallies.give_back_batch(window, heard, 10.0)
        hear(tallies, "s")
    again = tallies.take_batch(RATE, 11.0, 5.0)
    assert again is not None
    assert again[1] == ("f.ss" if refused_twice else "f.s")


def hear(tallies: Tallies, outcomes: str) -> None:
    assert tallies.window is not None
    for outcome in outcomes:
        tallies.window.hear(outcome)


def test_what_is_heard_in_a_long_outage_is_bounded() -> None:
    tallies = Tallies()
    tallies.open_window(1)
    for _ in range(3):
        hear(tallies, Outcome.GOOD * (MOST_HEARD // 2))
        taken = tallies.take_batch(RATE, 10.0, 5.0)
        assert taken is not None
        tallies.give_back_batch(taken[0], taken[1], 10.0)
    last = tallies.take_batch(RATE, 10.0, 5.0)
    assert last is not None
    assert len(last[1]) == MOST_HEARD


@given(st.lists(st.sampled_from(["successes", "failures", "refusals", "ask"])))
def test_activity_is_noticed_once(moves: list[str]) -> None:
    tallies = Tallies()
    tallies.has_moved()
    moved = False
    for move in moves:
        if move == "ask":
            assert tallies.has_moved() is moved
            moved = False
        else:
            next(getattr(tallies, move))
            moved = True


RETRIES = Policy(retry_share=0.2)


def hear_and_look(tallies: Tallies, outcomes: str) -> None:
    hear(tallies, outcomes)
    tallies.is_past_limit(RATE, 10.0)


@pytest.mark.parametrize(
    "gather",
    [
        lambda tallies: next(tallies.successes),
        lambda tallies: next(tallies.failures),
        lambda tallies: next(tallies.refusals),
        lambda tallies: hear(tallies, "f"),
        lambda tallies: hear_and_look(tallies, "f"),
        lambda tallies: tallies.give_back_batch(tallies.window, "f", 10.0),
        lambda tallies: tallies.may_retry(Spending(), RETRIES, 10.0),
    ],
    ids=["success", "failure", "refusal", "heard", "pending", "given back", "retry"],
)
def test_whatever_is_gathered_is_held_until_it_is_taken(
    gather: Callable[[Tallies], object],
) -> None:
    tallies = Tallies()
    tallies.open_window(1)
    assert not tallies.holds_any()
    gather(tallies)
    assert tallies.holds_any()
    assert tallies.holds_any(), "to look takes nothing"
    tallies.take()
    tallies.take_batch(RATE, 10.0, 5.0)
    tallies.take_spending(RETRIES, 10.0)
    assert not tallies.holds_any()


@pytest.mark.parametrize(
    ("outcomes", "share"), [("", 1.0), ("fff", 1.0), ("ffff", 0.8), ("fff.", 0.4), ("ff..", 0.0)]
)
def test_a_process_asks_for_the_share_of_its_own_calls_once_they_are_enough(
    outcomes: str, share: float
) -> None:
    policy = Policy(strategy="throttle", minimum_calls=4)  # type: ignore[arg-type]
    tallies = Tallies()
    assert tallies.asked_share(policy, 10.0) == 1.0
    tallies.open_window(1)
    hear(tallies, outcomes)
    assert tallies.asked_share(policy, 10.0) == pytest.approx(share)


def test_a_window_goes_on_after_a_while_in_memory() -> None:
    tallies = Tallies()
    tallies.open_window(3)
    hear(tallies, "f")
    shared = tallies.window
    tallies.open_window(-5)
    assert tallies.window is not shared
    hear(tallies, ".")
    tallies.open_window(3)
    assert tallies.window is shared
    taken = tallies.take_batch(RATE, 10.0, 5.0)
    assert taken is not None
    assert (taken[1], taken[2].generation, taken[2].recent) == ("f", 3, "f")
    tallies.close_window()
    assert tallies.take_batch(RATE, 10.0, 5.0) is None
    assert not tallies.is_past_limit(RATE, 10.0)


def test_a_batch_says_what_its_process_has_seen_and_when_it_settles() -> None:
    tallies = Tallies()
    tallies.open_window(3)
    hear(tallies, "f.s")
    tallies.add_failure(3)
    tallies.add_failure(3)
    witness = Witness(process="web-1")
    taken = tallies.take_batch(RATE, 10.0, 5.0, witness)
    assert taken is not None
    assert taken[0] is tallies.window
    assert taken[2] == Batch(
        generation=3,
        counts=Counts(3, 1, 1),
        recent="f.s",
        own_run=2,
        settle_seconds=5.0,
        witness=witness,
    )


def test_a_run_with_one_more_failure_begins_anew_in_another_generation() -> None:
    tallies = Tallies()
    tallies.add_failure(1)
    tallies.add_failure(1)
    assert (tallies.run_with(1), tallies.run_with(2)) == (3, 1)
    assert tallies.own_run == 2
    tallies.clear_run()
    assert (tallies.own_run, tallies.run_with(1)) == (0, 1)


def test_what_is_taken_says_when_the_last_success_was() -> None:
    tallies = Tallies()
    tallies.succeeded_at = 7.0
    next(tallies.failures)
    assert tallies.take() == Taken(0, 1, {}, None)
    next(tallies.successes)
    assert tallies.take() == Taken(1, 0, {}, 7.0)


# What could not be written


def test_what_is_given_back_a_second_time_is_added_to_the_first() -> None:
    tallies = Tallies()
    tallies.refuse_by(1)
    tallies.open_window(1)
    kept = []
    for outcome in (Outcome.GOOD, Outcome.FAILED):
        next(tallies.successes)
        next(tallies.refusals)
        assert tallies.window is not None
        tallies.window.hear(outcome)
        kept.append((tallies.take(), tallies.take_batch(RATE, 0.0, 1.0)))
    for taken, batch in kept:
        assert taken is not None
        assert batch is not None
        tallies.give_back(taken)
        tallies.give_back_batch(batch[0], batch[1], 0.0)
    taken, batch = tallies.take(), tallies.take_batch(RATE, 0.0, 1.0)
    assert taken is not None
    assert (taken.successes, taken.refused) == (2, {1: 2})
    assert batch is not None
    assert sorted(batch[1]) == sorted([Outcome.GOOD, Outcome.FAILED])


def test_refusals_of_too_many_generations_are_counted_and_the_latest_apart() -> None:
    tallies = Tallies()
    for generation in range(1, MOST_GENERATIONS + 51):
        tallies.refuse_by(generation)
        next(tallies.refusals)
    taken = tallies.take()
    assert taken is not None
    assert len(taken.refused) == MOST_GENERATIONS
    assert sum(taken.refused.values()) == MOST_GENERATIONS + 50
    assert taken.refused[MOST_GENERATIONS + 50] == 1


def test_as_many_generations_as_there_may_be_are_all_counted_apart() -> None:
    tallies = Tallies()
    for generation in range(1, MOST_GENERATIONS + 1):
        tallies.refuse_by(generation)
        next(tallies.refusals)
    taken = tallies.take()
    assert taken is not None
    assert taken.refused == dict.fromkeys(range(1, MOST_GENERATIONS + 1), 1)
    tallies.refuse_by(MOST_GENERATIONS + 1)
    next(tallies.refusals)
    tallies.give_back(taken)
    again = tallies.take()
    assert again is not None
    assert (again.refused[0], 1 in again.refused, 2 in again.refused) == (2, False, False)
    assert sum(again.refused.values()) == MOST_GENERATIONS + 1


@pytest.fixture
def memory() -> Iterator[Callable[[], tuple[int, int]]]:
    """The memory in use now, and at its peak, in bytes."""
    tracemalloc.start()
    yield tracemalloc.get_traced_memory
    tracemalloc.stop()


def test_outcomes_that_nobody_takes_take_up_no_more_memory_than_the_most_that_count(
    memory: Callable[[], tuple[int, int]],
) -> None:
    tallies = Tallies()
    tallies.open_window(1)
    window = tallies.window
    assert window is not None
    for _ in range(4):
        for _ in range(4 * MOST_HEARD):
            window.hear(Outcome.GOOD)
        tallies.is_past_limit(RATE, 0.0)
    now, most = memory()
    assert now < 2.5 * MOST_HEARD
    assert most < 40 * MOST_HEARD, "a reference to each, twice, and one letter"


def test_outcomes_given_back_again_and_again_take_up_no_more_memory_either(
    memory: Callable[[], tuple[int, int]],
) -> None:
    tallies = Tallies()
    tallies.open_window(1)
    window = tallies.window
    assert window is not None
    for _ in range(10):
        tallies.give_back_batch(window, Outcome.GOOD * MOST_HEARD, 0.0)
    assert memory()[0] < 2.5 * MOST_HEARD
