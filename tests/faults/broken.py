"""One of many processes that call a remote which is well, and which one of them cannot reach."""

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

#: Refusals of the process that is alone, after which it has been so for long enough.
ENOUGH: Final = 200


class Calls:
    """What became of a process's calls."""

    def __init__(self, name: str, *, fails: bool) -> None:
        self._name = name
        self._fails = fails
        self.made = self.refused = self.alone = 0

    def one(self) -> None:
        """Make a call, if it is let through."""
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
        """Call until then."""
        while not is_over.wait(PAUSE):
            self.one()

    @property
    def counts(self) -> dict[str, int]:
        """How many were made, were refused, and were so because this process is alone."""
        return {"made": self.made, "refused": self.refused, "alone": self.alone}


def fail_alone(name: str) -> dict[str, int]:
    """Fail all calls until this process has been told often that it is alone, then return."""
    calls = Calls(name, fails=True)
    say_and_wait("well")
    deadline = time.monotonic() + PATIENCE
    while calls.alone < ENOUGH and time.monotonic() < deadline:
        time.sleep(PAUSE)
        calls.one()
    return calls.counts


def succeed_beside(name: str) -> dict[str, int]:
    """Succeed, so that all know of it, and go on to succeed until let go."""
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
