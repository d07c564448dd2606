"""Gathers the outcomes of a circuit's calls in one process between two flushes.

The hot path counts here without a lock, in steps that the interpreter does not interrupt. Taking
the tallies and giving them back happens under one lock.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from heapq import nsmallest
from itertools import count
from threading import Lock
from typing import Final, NamedTuple

from ..core import latency, throttle, windows
from ..core.budget import Spending
from ..core.latency import Histogram
from ..core.policy import MOST_CALLS, Policy
from ..core.status import NOBODY, Batch, Witness
from ..core.windows import Window
from .retries import Retries

#: The most outcomes a process gathers between two merges; the oldest are dropped.
MOST_HEARD: Final = 100_000

#: The most calls whose durations a process keeps between two flushes; the oldest are dropped.
MOST_TIMED: Final = 1_000

#: The most generations whose refusals are counted separately; older ones count together.
MOST_GENERATIONS: Final = 1_000


class TickCounter:
    """A counter that threads tick without a lock, by ``next(counter.ticks)``.

    That is one step of the interpreter. Everything else needs a lock.
    """

    __slots__ = ("_reads", "_taken", "ticks")

    def __init__(self) -> None:
        self.ticks: Iterator[int] = count()
        self._taken = 0
        self._reads = 0

    def read(self) -> int:
        """Return the number of ticks so far."""
        # Reading is a tick too, so the reads are subtracted.
        total = next(self.ticks) - self._reads
        self._reads += 1
        return total

    def untaken(self) -> int:
        """Return the number of ticks since the last take, without taking them."""
        return self.read() - self._taken

    def take(self) -> int:
        """Take the ticks since the last take, and return their number."""
        total = self.read()
        new = total - self._taken
        self._taken = total
        return new

    def give_back(self, ticks: int) -> None:
        """Give back ticks that were taken but could not be written."""
        self._taken -= ticks


class OwnWindow:
    """The outcomes one process has heard in one generation, and its own window.

    Any thread may call ``hear`` without a lock; all else needs the lock. Times are on the monotonic
    clock.
    """

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self._heard: deque[str] = deque(maxlen=MOST_HEARD)
        self.hear = self._heard.append
        self._pending = ""
        # Outcomes returned by a failed merge, and when the oldest of them was heard.
        self._kept = ""
        self._kept_at = 0.0
        self._merged = windows.EMPTY

    @property
    def is_shared(self) -> bool:
        """Whether it belongs to the circuit in the database, not to one in memory."""
        return self.generation >= 0

    def holds_any(self) -> bool:
        """Return whether there are outcomes to merge."""
        return bool(self._heard or self._pending or self._kept)

    def is_past_limit(self, policy: Policy, now: float) -> bool:
        """Return whether the outcomes of this process alone would open the circuit."""
        counts = windows.totals(self._with_pending(policy, now))
        return windows.too_many_failures(counts, policy) or windows.too_many_slow(counts, policy)

    def asked_share(self, policy: Policy, now: float) -> float:
        """Return the share that this process's own outcomes ask for; 1 if they are too few."""
        counts = windows.totals(self._with_pending(policy, now))
        is_enough = counts.calls >= windows.least_calls(policy)
        return throttle.asked_by(policy, *counts) if is_enough else 1.0

    def take(self, policy: Policy, now: float) -> str:
        """Take the outcomes heard since the last take, one letter each, to be merged."""
        self._merged = self._with_pending(policy, now)
        if self._has_left(policy, now):
            self._kept = ""
        taken = (self._kept + self._pending)[-MOST_HEARD:]
        self._kept = self._pending = ""
        return taken

    def give_back(self, taken: str, now: float) -> None:
        """Keep outcomes that could not be merged for the next take."""
        if not self._kept:
            self._kept_at = now
        self._kept = (taken + self._kept)[-MOST_HEARD:]

    def _has_left(self, policy: Policy, now: float) -> bool:
        """Return whether the outcomes given back are too old for the window by now."""
        return not policy.window_calls and now >= self._kept_at + policy.window_seconds

    def _with_pending(self, policy: Policy, now: float) -> Window:
        if self._heard:
            new = [self._heard.popleft() for _ in range(len(self._heard))]
            self._pending = (self._pending + "".join(new))[-MOST_HEARD:]
        return windows.merged(
            self._merged, policy, now, windows.counted(self._pending), self._pending
        )


class Taken(NamedTuple):
    """The tallies taken to be written.

    Args:
        successes: Number of successes.
        failures: Number of failures.
        refused: Number of refusals by generation; 0 stands for a generation in memory only.
        succeeded_at: When the last success ended, on the monotonic clock; None without one.
        durations: The durations of the calls that were answered and timed.
    """

    successes: int
    failures: int
    refused: Mapping[int, int]
    succeeded_at: float | None
    durations: Histogram = latency.EMPTY


class Tallies:
    """One circuit's successes, failures and refusals in this process, its own run and its windows.

    ``next`` of ``successes``, ``failures`` or ``refusals`` counts one. That, ``time`` and setting
    ``run_cleared`` to ``run_failed`` need no lock.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._successes = TickCounter()
        self._failures = TickCounter()
        self._refusals = TickCounter()
        self._refused: Counter[int] = Counter()
        self._refused_by = 0
        self.successes = self._successes.ticks
        self.failures = self._failures.ticks
        self.refusals = self._refusals.ticks
        self._durations: deque[float] = deque(maxlen=MOST_TIMED)
        self._kept_durations = latency.EMPTY
        #: Adds the duration of a call, in seconds.
        self.time = self._durations.append
        #: When a call last succeeded, on the monotonic clock.
        self.succeeded_at: float | None = None
        #: Failures counted for the own run, and how many of them a later success has cleared.
        self.run_failed = self.run_cleared = 0
        self._run_generation = 0
        self.window: OwnWindow | None = None
        # The shared circuit's last window, while ``window`` is that of a circuit in memory.
        self._shared_window: OwnWindow | None = None
        self._seen_activity = 0
        # None until a retry is asked for, so that a process that never retries has no part in it.
        self._retries: Retries | None = None

    # The own run of failures

    @property
    def own_run(self) -> int:
        """The number of failures in a row that this process has seen."""
        return self.run_failed - self.run_cleared

    def add_failure(self, generation: int) -> int:
        """Add a failure that the store knows of to the own run; return the length of the run."""
        with self._lock:
            if generation != self._run_generation:
                self._run_generation = generation
                self.run_cleared = self.run_failed
            self.run_failed += 1
            return self.own_run

    def run_with(self, generation: int) -> int:
        """Return the length of the own run with a failure that is still to be reported."""
        return self.own_run + 1 if generation == self._run_generation else 1

    def clear_run(self) -> None:
        """End the own run."""
        self.run_cleared = self.run_failed

    def begin_anew(self) -> None:
        """Forget the own run and the own window, because a decision has been made on them."""
        with self._lock:
            self.run_cleared = self.run_failed
            if self.window is not None:
                self.window = OwnWindow(self.window.generation)

    # The windows of the strategies rate and throttle

    def open_window(self, generation: int) -> None:
        """Gather outcomes for a generation, and go on with its window if there is one already."""
        with self._lock:
            window = self.window
            if window is not None and window.is_shared:
                self._shared_window = window
            for known in (window, self._shared_window):
                if known is not None and known.generation == generation:
                    self.window = known
                    return
            self.window = OwnWindow(generation)

    def close_window(self) -> None:
        """Gather no outcomes: the strategy counts failures in a row."""
        self.window = None

    def is_past_limit(self, policy: Policy, now: float) -> bool:
        """Return whether the outcomes of this process alone would open the circuit."""
        with self._lock:
            return self.window is not None and self.window.is_past_limit(policy, now)

    def asked_share(self, policy: Policy, now: float) -> float:
        """Return the share of calls to refuse that the outcomes of this process alone ask for.

        It is 1, and leaves the decision to the fleet's window, if there are too few of them.
        """
        with self._lock:
            return 1.0 if self.window is None else self.window.asked_share(policy, now)

    def take_batch(
        self,
        policy: Policy,
        now: float,
        settle_seconds: float,
        witness: Witness = NOBODY,
    ) -> tuple[OwnWindow, str, Batch] | None:
        """Take the outcomes gathered for the circuit's window, to be merged.

        Args:
            witness: This process.

        Returns:
            The window, the outcomes taken from it, and their batch; None if there are none.
        """
        with self._lock:
            window = self.window
            heard = "" if window is None else window.take(policy, now)
            if window is None or not heard:
                return None
            batch = Batch(
                generation=window.generation,
                counts=windows.counted(heard),
                recent=heard[-MOST_CALLS:],
                own_run=self.own_run,
                settle_seconds=settle_seconds,
                witness=witness,
            )
            return window, heard, batch

    def give_back_batch(self, window: OwnWindow, heard: str, now: float) -> None:
        """Keep outcomes that could not be merged for the next time."""
        with self._lock:
            window.give_back(heard, now)

    # The budget of retries

    def may_retry(self, fleet: Spending, policy: Policy, now: float) -> bool:
        """Grant a retry, and count it, if the budget has one left.

        Args:
            fleet: The recent calls and retries of all processes, as far as flushed.
        """
        with self._lock:
            if self._retries is None:
                self._retries = Retries(self._ended())
            return self._retries.ask(self._ended(), fleet, policy, now)

    def take_spending(self, policy: Policy, now: float) -> Spending | None:
        """Take the calls and retries since the last take; None if there are none to report."""
        with self._lock:
            if self._retries is None:
                return None
            return self._retries.take(self._ended(), policy, now)

    def give_back_spending(self, taken: Spending) -> None:
        """Give back calls and retries that could not be written."""
        with self._lock:
            if self._retries is not None:
                self._retries.give_back(taken)

    def _ended(self) -> int:
        """Return how many calls have ended so far; refused ones are none."""
        return self._successes.read() + self._failures.read()

    # What is written

    def refuse_by(self, generation: int) -> None:
        """Count refusals for another generation from now on; 0 stands for one in memory only."""
        with self._lock:
            self._sort_refusals()
            self._refused_by = generation

    def take(self) -> Taken | None:
        """Take everything counted since the last take; None if there is nothing."""
        with self._lock:
            self._sort_refusals()
            successes, failures = self._successes.take(), self._failures.take()
            refused, self._refused = self._refused, Counter()
            durations = self._take_durations()
        if not (successes or failures or refused or any(durations)):
            return None
        at = self.succeeded_at if successes else None
        return Taken(successes, failures, refused, at, durations)

    def _take_durations(self) -> Histogram:
        new = [self._durations.popleft() for _ in range(len(self._durations))]
        kept, self._kept_durations = self._kept_durations, latency.EMPTY
        return latency.added(kept, latency.histogram(new))

    def give_back(self, taken: Taken) -> None:
        """Give back what was taken but could not be written."""
        with self._lock:
            self._successes.give_back(taken.successes)
            self._failures.give_back(taken.failures)
            self._refused.update(taken.refused)
            self._kept_durations = latency.added(self._kept_durations, taken.durations)
            self._forget_old_generations()

    def holds_any(self) -> bool:
        """Return whether there is anything to write."""
        with self._lock:
            self._sort_refusals()
            window = self.window
            counted = self._successes.untaken() or self._failures.untaken() or self._refused
            held = (window, self._retries)
            return bool(counted) or any(each is not None and each.holds_any() for each in held)

    def has_moved(self) -> bool:
        """Return whether any call has ended or was refused since this was last asked."""
        with self._lock:
            self._sort_refusals()
            activity = self._ended() + self._refusals.read()
        has_moved = activity != self._seen_activity
        self._seen_activity = activity
        return has_moved

    def _sort_refusals(self) -> None:
        new = self._refusals.take()
        if new:
            self._refused[self._refused_by] += new
            self._forget_old_generations()

    def _forget_old_generations(self) -> None:
        excess = len(self._refused) - MOST_GENERATIONS
        if excess > 0:
            oldest = nsmallest(excess + 1, self._refused)
            self._refused[0] = sum(self._refused.pop(each) for each in oldest)
