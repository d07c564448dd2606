"""The work that all contenders do, and the proof that it was done."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import NoReturn

from .measure import BrokenContenderError


class RemoteDownError(Exception):
    """What a failing call fails with."""


class Tally:
    """Counts, in one step of the interpreter, so that any thread may."""

    def __init__(self) -> None:
        self.tick: Callable[[], int] = count().__next__
        self._reads = 0

    def total(self) -> int:
        """Return the ticks so far."""
        # Reading is a tick too, so the reads are taken off again.
        total = self.tick() - self._reads
        self._reads += 1
        return total


class Work:
    """The same function for every contender: it does nothing but count that it was called."""

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
    """Stand behind an open circuit, where nothing may be called."""
    raise BrokenContenderError("An open circuit let a call through.")


class Expecting:
    """A call that must raise one kind of exception, and how often it did."""

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
