"""Limits how often a user may ask one process for something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from threading import Lock
from time import monotonic


class Rate:
    """A limit of ``most`` times in ``seconds`` for each user.

    Only the users who have asked in the present period are kept in memory.

    >>> rate = Rate(2, seconds=60, clock=lambda: 0.0)
    >>> [rate.allows("ann") for _ in range(3)], rate.allows("bob")
    ([True, True, False], True)

    Args:
        most: How often each user may ask in one period.
        seconds: The length of a period.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self, most: int, *, seconds: float = 1.0, clock: Callable[[], float] = monotonic
    ) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._lock = Lock()
        self._stretch = 0
        self._asked: Counter[Hashable] = Counter()

    def allows(self, who: Hashable) -> bool:
        """Count a request of ``who``; return whether it is within the limit."""
        with self._lock:
            stretch = int(self._clock() // self._seconds)
            if stretch != self._stretch:
                self._stretch = stretch
                self._asked.clear()
            self._asked[who] += 1
            return self._asked[who] <= self._most
