"""What one process gathers for the rate strategy between two merges."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Final

from . import windows
from .machine import Policy
from .windows import Window

#: The most outcomes a process gathers between two merges; the oldest are dropped.
MOST_HEARD: Final = 100_000


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
