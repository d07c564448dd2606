"""Processes that call a healthy remote, which one of them cannot reach."""

from __future__ import annotations

import time
from contextlib import suppress
from threading import Event, Thread
from typing import Final

import circuits
from tests.worker import say_and_wait

#: Seconds between two calls of a process.
PAUSE: Final = 0.005

#: Seconds after which a process that is never told it is alone gives up.
PATIENCE: Final = 30.0

#: How many refusals show that the process has been alone for long enough.
ENOUGH: Final = 200


class Calls:
    """Makes the calls of a process and counts their outcomes."""

    def __init__(self, name: str, *, fails: bool) -> None:
        self._name = name
        self._fails = fails
        self.made = self.refused = self.alone = 0

    def one(self) -> None:
        """Try to make one call."""
        try:
            with circuits.guard(self._name):
                self.made += 1
                if self._fails:
                    raise ConnectionError("no route to host")
        except circuits.CircuitOpenError as error:
            self.refused += 1
            self.alone += error.is_alone
        except ConnectionError:
            pass

    def until(self, is_over: Event) -> None:
        """Make calls until an event is set."""
        while not is_over.wait(PAUSE):
            self.one()

    @property
    def counts(self) -> dict[str, int]:
        """The number of calls made, of those refused, and of refusals because it is alone."""
        return {"made": self.made, "refused": self.refused, "alone": self.alone}


def fail_alone(name: str) -> dict[str, int]:
    """Make failing calls until many refusals said that this process is alone; return the counts."""
    calls = Calls(name, fails=True)
    say_and_wait("well")
    deadline = time.monotonic() + PATIENCE
    while calls.alone < ENOUGH and time.monotonic() < deadline:
        time.sleep(PAUSE)
        calls.one()
    return calls.counts


def succeed_beside(name: str) -> dict[str, int]:
    """Make calls that succeed, flush the first, and go on until let go; return the counts."""
    calls = Calls(name, fails=False)
    calls.one()
    circuits.flush()
    say_and_wait("well")
    is_over = Event()
    thread = Thread(target=calls.until, args=[is_over])
    thread.start()
    say_and_wait("calling")
    is_over.set()
    thread.join(PATIENCE)
    with suppress(Exception):
        circuits.flush()
    return calls.counts
