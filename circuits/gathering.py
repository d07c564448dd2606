"""What one process gathers about a circuit between two times that it writes it down."""

from __future__ import annotations

from collections import Counter as Counts
from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from threading import Lock
from typing import Final

from . import windows
from .machine import Policy
from .windows import Window

#: The most outcomes a process gathers between two merges; the oldest are dropped.
MOST_HEARD: Final = 100_000


class Counter:
    """A counter that threads tick without a lock: ``next`` of itertools.count is one step."""

    __slots__ = ("_reads", "_taken", "tick")

    def __init__(self) -> None:
        self.tick: Callable[[], int] = count().__next__
        self._taken = 0
        self._reads = 0

    def take(self) -> int:
        """Return the ticks since the last take; for one thread at a time."""
        # Reading is a tick too, so the reads are taken off again.
        total = self.tick() - self._reads
        self._reads += 1
        new = total - self._taken
        self._taken = total
        return new

    def give_back(self, ticks: int) -> None:
        """Count ticks again that were taken but could not be written."""
        self._taken -= ticks


class RefusalCounter(Counter):
    """Refusals, which belong to the generation that refused them."""

    __slots__ = ("_by_generation", "_generation", "_lock")

    def __init__(self) -> None:
        super().__init__()
        self._generation = 0
        self._lock = Lock()
        self._by_generation: Counts[int] = Counts()

    def begin(self, generation: int) -> None:
        """Count for another generation from here on; 0 for what no shared one refuses."""
        with self._lock:
            self._sort_new()
            self._generation = generation

    def take_all(self) -> Mapping[int, int]:
        """Return the refusals since the last take, by generation."""
        with self._lock:
            self._sort_new()
            taken, self._by_generation = self._by_generation, Counts()
        return taken

    def give_all_back(self, refused: Mapping[int, int]) -> None:
        """Count refusals again that were taken but could not be written."""
        with self._lock:
            self._by_generation.update(refused)

    def _sort_new(self) -> None:
        new = self.take()
        if new:
            self._by_generation[self._generation] += new


class OwnWindow:
    """What one process has heard of one generation: not yet merged, and within its own window.

    ``hear`` may be called by any thread without a lock. Times are on the monotonic clock.
    """

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self._heard: deque[str] = deque(maxlen=MOST_HEARD)
        self.hear = self._heard.append
        self._lock = Lock()
        self._pending = ""
        # Taken once and given back, the first of it at that time.
        self._kept = ""
        self._kept_at = 0.0
        self._merged = windows.EMPTY

    @property
    def is_shared(self) -> bool:
        """Whether it belongs to the circuit in the database, and not to one in memory."""
        return self.generation >= 0

    def is_past_limit(self, policy: Policy, now: float) -> bool:
        """Whether what this process has seen by itself would open the circuit."""
        with self._lock:
            counts = windows.totals(self._with_pending(policy, now))
        return windows.too_many_failures(counts, policy) or windows.too_many_slow(counts, policy)

    def take(self, policy: Policy, now: float) -> str:
        """Return what was heard since the last take, a letter each, to be merged."""
        with self._lock:
            self._merged = self._with_pending(policy, now)
            if self._is_past(policy, now):
                self._kept = ""
            taken = (self._kept + self._pending)[-MOST_HEARD:]
            self._kept = self._pending = ""
        return taken

    def give_back(self, taken: str, now: float) -> None:
        """Keep for the next take what could not be merged."""
        with self._lock:
            if not self._kept:
                self._kept_at = now
            self._kept = taken + self._kept

    def _is_past(self, policy: Policy, now: float) -> bool:
        """Whether what was given back has left the window meanwhile."""
        return not policy.window_calls and now - self._kept_at >= policy.window_seconds

    def _with_pending(self, policy: Policy, now: float) -> Window:
        while self._heard:
            self._pending += self._heard.popleft()
        return windows.merged(
            self._merged, policy, now, windows.counted(self._pending), self._pending
        )
