"""The work that all contenders do, and the count that proves it was done."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import NoReturn

from .measure import BrokenContenderError


class RemoteDownError(Exception):
    """Raised by the work that fails."""


class Tally:
    """Counts in a single step of the interpreter, so that any thread may count."""

    def __init__(self) -> None:
        self.tick: Callable[[], int] = count().__next__
        self._reads = 0

    def total(self) -> int:
        """Return the number of ticks so far."""
        # Each read ticks too, so the reads are subtracted.
        total = self.tick() - self._reads
        self._reads += 1
        return total


class Work:
    """The function that every contender calls, which does nothing but count its calls."""

    def __init__(self) -> None:
        tally = Tally()
        tick = tally.tick
        self.done = tally.total

        def succeed() -> None:
            tick()

        async def asucceed() -> None:
            tick()

        def fail() -> None:
            tick()
            raise RemoteDownError

        self.succeed = succeed
        self.asucceed = asucceed
        self.fail = fail


def forbidden() -> NoReturn:
    """Raise an error: this stands behind an open circuit, where nothing may be called."""
    raise BrokenContenderError("An open circuit let a call through.")


class Expecting:
    """Makes calls that must raise one kind of exception, and counts them."""

    def __init__(self, call: Callable[[], object], error: type[BaseException]) -> None:
        tally = Tally()
        tick = tally.tick
        self.done = tally.total

        def attempt() -> None:
            try:
                call()
            except error:
                tick()
                return
            raise BrokenContenderError(f"A call ended without {error.__name__}.")

        self.attempt = attempt
