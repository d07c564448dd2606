"""Counts the calls under way in one process for a circuit with ``max_concurrent``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Lock


class Turn:
    """A caller's turn in the queue for a place.

    Args:
        limit: How many places there are.
        wake: Wakes the caller up, from any thread; returns false if its event loop has ended.

    Attributes:
        has_place: Whether it has been given a place.
    """

    __slots__ = ("_wake", "has_place", "limit")

    def __init__(self, limit: int, wake: Callable[[], object]) -> None:
        self.limit = limit
        self._wake = wake
        self.has_place = False

    def wakes(self) -> bool:
        """Wake the caller up; return false if it is gone."""
        return self._wake() is not False


class Places:
    """Counts the calls under way of a circuit that limits them, and queues those over the limit.

    Callers are served in the order in which they came, and nobody overtakes the queue.
    """

    __slots__ = ("_lock", "_queue", "taken")

    def __init__(self) -> None:
        self._lock = Lock()
        self._queue: deque[Turn] = deque()
        self.taken = 0

    @property
    def waiting(self) -> int:
        """How many callers wait for a place."""
        return len(self._queue)

    def enter(self, limit: int) -> bool:
        """Take a place and return true, or return false if ``limit`` are taken."""
        with self._lock:
            if self.taken >= limit or self._queue:
                return False
            self.taken += 1
            return True

    def leave(self) -> None:
        """Give a place back, which goes to the first in the queue."""
        with self._lock:
            self.taken -= 1
            self._serve()

    def queue(self, limit: int, wake: Callable[[], object]) -> Turn:
        """Join the queue and return a turn in it, which may have a place at once."""
        turn = Turn(limit, wake)
        with self._lock:
            self._queue.append(turn)
            self._serve()
        return turn

    def quit(self, turn: Turn) -> bool:
        """Leave the queue; return whether the turn has a place, which the caller must leave."""
        with self._lock:
            if not turn.has_place:
                with suppress(ValueError):  # the turn was dismissed
                    self._queue.remove(turn)
            self._serve()
            return turn.has_place

    def dismiss(self) -> None:
        """Send away all who wait, because the circuit has changed and they must ask again."""
        if not self._queue:
            return
        with self._lock:
            while self._queue:
                self._queue.popleft().wakes()

    def _serve(self) -> None:
        """Give the free places to the first in the queue."""
        while self._queue and self.taken < self._queue[0].limit:
            turn = self._queue.popleft()
            turn.has_place = True
            if turn.wakes():
                self.taken += 1
            else:
                turn.has_place = False
