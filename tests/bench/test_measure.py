"""Rounds, ratios and stopwatches, with contenders whose time is made up."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from bench.measure import (
    BrokenContenderError,
    Contender,
    Effort,
    Timing,
    awaiting,
    calling,
    gathering,
    measure,
    percentile,
    preparing,
    ratio,
    threading,
)
from bench.work import Tally, Work

EFFORT = Effort(rounds=3, turn_seconds=0.001, batch_seconds=0.00001)


class Fake:
    """A contender that reports invented times, and takes none."""

    def __init__(self, name: str, *nanoseconds: int, does: float = 1.0) -> None:
        self.name = name
        self._nanoseconds = nanoseconds
        self._does = does
        self.turns = 0
        self.batches: list[int] = []
        self.collected: set[bool] = set()
        self._done = 0.0

    def contender(self, batch: int | None = None) -> Contender:
        return Contender(
            name=self.name,
            time=self._time,
            done=lambda: round(self._done),
            within=self._within,
            batch=batch,
        )

    @contextmanager
    def _within(self) -> Iterator[None]:
        self.turns += 1
        yield

    def _time(self, calls: int) -> int:
        self._done += calls * self._does
        self.batches.append(calls)
        self.collected.add(gc.isenabled())
        return calls * self._nanoseconds[min(self.turns, len(self._nanoseconds)) - 1]


def test_each_has_a_turn_in_every_round() -> None:
    one, other = Fake("one", 100), Fake("other", 1000)
    timings = measure([one.contender(), other.contender()], EFFORT)
    assert timings["one"] == Timing(rounds=(100.0, 100.0, 100.0), p99=100.0)
    assert timings["other"].median == 1000.0
    assert one.turns == other.turns == 1 + EFFORT.rounds  # the first finds the size of a batch


def test_the_order_of_the_turns_changes() -> None:
    begun: list[str] = []

    def contender(name: str) -> Contender:
        @contextmanager
        def within() -> Iterator[None]:
            begun.append(name)
            yield

        tally = Tally()
        return Contender(name=name, time=calling(tally.tick), done=tally.total, within=within)

    effort = Effort(rounds=8, turn_seconds=0.0, batch_seconds=0.0)
    measure([contender("a"), contender("b"), contender("c")], effort, Random(1))
    rounds = [tuple(begun[at : at + 3]) for at in range(3, len(begun), 3)]
    assert len(rounds) == 8
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len(set(rounds)) > 2


def test_short_calls_are_timed_together_and_long_ones_alone() -> None:
    short, long = Fake("short", 100), Fake("long", 1_000_000)
    measure([short.contender(), long.contender()], EFFORT)
    assert short.batches[-1] == 128  # the first power of 2 that takes 10 µs
    assert long.batches[-1] == 1


def test_a_turn_has_a_least_number_of_batches() -> None:
    long = Fake("long", 1_000_000)
    measure([long.contender()], EFFORT)
    [per_turn] = {len(long.batches[2:]) / EFFORT.rounds}
    assert per_turn == 1 + EFFORT.least_batches  # the first call of a turn is not timed


def test_a_contender_may_say_how_many_calls_belong_together() -> None:
    fake = Fake("fake", 100)
    measure([fake.contender(batch=1000)], EFFORT)
    assert set(fake.batches) == {1, 1000}


def test_the_median_of_the_rounds_counts() -> None:
    fake = Fake("fake", 100, 100, 900, 200)
    assert measure([fake.contender()], EFFORT)["fake"].median == 200.0


def test_work_that_was_not_done_is_no_result() -> None:
    lazy = Fake("lazy", 100, does=0.5)
    with pytest.raises(BrokenContenderError, match=r"lazy was to do its work \d+ times"):
        measure([lazy.contender()], EFFORT)


def test_the_collector_is_off_while_the_clock_runs_and_on_again_afterwards() -> None:
    fake = Fake("fake", 100)
    measure([fake.contender(batch=10)], EFFORT)
    assert fake.collected == {False}
    assert gc.isenabled()


def test_a_ratio_is_taken_round_by_round() -> None:
    timings = {
        "one": Timing(rounds=(1.0, 20.0, 3.0), p99=0.0),
        "other": Timing(rounds=(2.0, 40.0, 6.0), p99=0.0),
    }
    assert ratio(timings, "one", "other") == 0.5


@pytest.mark.parametrize(
    ("share", "value"), [(0.99, 99), (1.0, 100), (0.5, 50), (0.0, 1), (0.001, 1)]
)
def test_a_percentile(share: float, value: int) -> None:
    assert percentile(range(100, 0, -1), share) == value


# Stopwatches: each makes the calls that it should, and takes some time


def test_calling() -> None:
    work = Work()
    assert calling(work.succeed)(1000) > 0
    assert work.done() == 1000


def test_awaiting_and_gathering() -> None:
    work = Work()
    with asyncio.Runner() as runner:
        assert awaiting(work.asucceed, runner)(10) > 0
        assert gathering(work.asucceed, runner)(10) > 0
    assert work.done() == 20


def test_threading_shares_the_calls() -> None:
    work, left = Work(), Tally()
    assert threading(work.succeed, 4, left.tick)(1000) > 0
    assert work.done() == 1000
    assert left.total() == 4


def test_preparing_times_the_call_alone() -> None:
    said: list[str] = []
    taken = preparing(
        lambda: said.append("before"), lambda: said.append("call"), lambda: said.append("after")
    )(2)
    assert said == ["before", "call", "after"] * 2
    assert taken > 0
