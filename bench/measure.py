"""Times contenders side by side: each has a turn in every round, in an order that changes.

When another process takes the machine for a while, it slows all contenders, not one. Contenders are
compared within the same round; see :func:`ratio`.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import repeat
from math import ceil
from random import Random
from statistics import median
from threading import Barrier
from time import perf_counter_ns

#: Makes the given number of calls and returns how many nanoseconds they took.
Stopwatch = Callable[[int], int]


class BrokenContenderError(Exception):
    """A contender did not do the work it was timed for, so its time means nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One of several implementations that do the same work.

    Args:
        time: Makes a number of calls and returns the nanoseconds they took.
        done: Returns how many times the work has really been done so far.
        within: Returns a context manager that is entered for each turn.
        batch: How many calls to time together; None lets :func:`measure` find out.
    """

    name: str
    time: Stopwatch
    done: Callable[[], int]
    within: Callable[[], AbstractContextManager[object]] = nullcontext
    batch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to measure.

    Args:
        rounds: How many turns each contender has.
        turn_seconds: About how many seconds a turn takes.
        batch_seconds: The fewest seconds that the calls of a batch take together; a call that takes
            longer is timed by itself.
        least_batches: The fewest batches in a turn, however long they take.
    """

    rounds: int = 7
    turn_seconds: float = 0.1
    batch_seconds: float = 0.00005
    least_batches: int = 5

    def with_rounds(self, rounds: int) -> Effort:
        """Return a copy with another number of rounds."""
        return replace(self, rounds=rounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How many nanoseconds a contender's call takes.

    Args:
        rounds: The median of the batches, for each round.
        p99: The time that 99 of 100 batches of all rounds stay below.
    """

    rounds: tuple[float, ...]
    p99: float

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)


Timings = dict[str, Timing]


def measure(
    contenders: Sequence[Contender], effort: Effort, order: Random | None = None
) -> Timings:
    """Time contenders in rounds and return the timing of each, by its name.

    Args:
        order: Draws the order of each round; give a seeded one to repeat it.

    Raises:
        BrokenContenderError: A contender did not do its work.
    """
    order = order or Random()
    plans = {each.name: _plan(each, effort) for each in contenders}
    rounds: dict[str, list[list[float]]] = {each.name: [] for each in contenders}
    for _ in range(effort.rounds):
        for each in order.sample(contenders, len(contenders)):
            rounds[each.name].append(_turn(each, *plans[each.name]))
    return {each.name: _timing(rounds[each.name]) for each in contenders}


def ratio(timings: Timings, of: str, to: str) -> float:
    """Return how many times as long a call of ``of`` takes as a call of ``to``.

    It is the median of the ratios of the rounds, so whatever slows a whole round cancels out.
    """
    pairs = zip(timings[of].rounds, timings[to].rounds, strict=True)
    return median(one / other for one, other in pairs)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of the values that at least ``share`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def _plan(contender: Contender, effort: Effort) -> tuple[int, int]:
    """Return how many calls make a batch, and how many batches make a turn."""
    if contender.batch is not None:
        return contender.batch, effort.least_batches
    least = effort.batch_seconds * 1e9
    calls = 1
    with contender.within():
        contender.time(calls)  # the first call may set things up
        while (taken := contender.time(calls)) < least:
            calls *= 2
    return calls, max(effort.least_batches, round(effort.turn_seconds * 1e9 / taken))


def _turn(contender: Contender, calls: int, batches: int) -> list[float]:
    """Take one turn and return the nanoseconds that a call took, for each batch."""
    with contender.within(), _no_collector():
        contender.time(1)
        before = contender.done()
        taken = [contender.time(calls) / calls for _ in range(batches)]
        done = contender.done() - before
    if done != calls * batches:
        raise BrokenContenderError(
            f"{contender.name} was to do its work {calls * batches} times and did it {done} times."
        )
    return taken


def _timing(rounds: Sequence[Sequence[float]]) -> Timing:
    batches = [each for taken in rounds for each in taken]
    return Timing(rounds=tuple(median(taken) for taken in rounds), p99=percentile(batches, 0.99))


@contextmanager
def _no_collector() -> Iterator[None]:
    """Keep the garbage collector off while the block runs: whom it would slow is chance."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# Stopwatches -------------------------------------------------------------------------------------


def calling(call: Callable[[], object]) -> Stopwatch:
    """Return a stopwatch for a function."""

    def time(calls: int) -> int:
        turns = repeat(None, calls)
        started = perf_counter_ns()
        for _ in turns:
            call()
        return perf_counter_ns() - started

    return time


def awaiting(call: Callable[[], Awaitable[object]], runner: asyncio.Runner) -> Stopwatch:
    """Return a stopwatch for a coroutine function, which awaits one call after the other."""

    async def time(calls: int) -> int:
        turns = repeat(None, calls)
        started = perf_counter_ns()
        for _ in turns:
            await call()
        return perf_counter_ns() - started

    return lambda calls: runner.run(time(calls))


def gathering(call: Callable[[], Awaitable[object]], runner: asyncio.Runner) -> Stopwatch:
    """Return a stopwatch for a coroutine function, which makes all calls at once."""

    async def time(calls: int) -> int:
        started = perf_counter_ns()
        await asyncio.gather(*(call() for _ in range(calls)))
        return perf_counter_ns() - started

    return lambda calls: runner.run(time(calls))


def threading(call: Callable[[], object], threads: int, leave: Callable[[], object]) -> Stopwatch:
    """Return a stopwatch for a function whose calls several threads share.

    Args:
        leave: What each thread calls when it has made its share.
    """

    def time(calls: int) -> int:
        together = Barrier(threads)
        turns = calls // threads

        def work(_: int) -> tuple[int, int]:
            together.wait()
            started = perf_counter_ns()
            for _turn in repeat(None, turns):
                call()
            ended = perf_counter_ns()
            leave()
            return started, ended

        with ThreadPoolExecutor(threads) as pool:
            spans = list(pool.map(work, range(threads)))
        return max(ended for _, ended in spans) - min(started for started, _ in spans)

    return time


def preparing(
    prepare: Callable[[], object], call: Callable[[], object], check: Callable[[], object]
) -> Stopwatch:
    """Return a stopwatch that times only ``call``, between a ``prepare`` and a ``check``."""

    def time(calls: int) -> int:
        taken = 0
        for _ in range(calls):
            prepare()
            started = perf_counter_ns()
            call()
            taken += perf_counter_ns() - started
            check()
        return taken

    return time
