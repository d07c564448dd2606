"""Observers that are told about each call: tracing, a recording, a site's own code.

By default there are none, and calls cost nothing extra.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Final, Protocol

logger = logging.getLogger("circuits")


class CallOutcome(StrEnum):
    """How a call through a circuit ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    #: The call was cancelled, or ended in a way that says nothing about the remote.
    IGNORED = "ignored"
    REFUSED = "refused"


class Observer(Protocol):
    """A function that is called for each call, in the thread and context that made the call."""

    def __call__(self, name: str, outcome: CallOutcome, seconds: float) -> None:
        """Record a call; ``seconds`` is its duration, 0 for a refused one."""


#: Counts a call with its outcome and duration.
Count = Callable[[CallOutcome, float], None]

_observers: Final[list[tuple[Observer, Callable[[], object] | None]]] = []


def add(observer: Observer, *, when: Callable[[], object] | None = None) -> None:
    """Add an observer. It hears of a circuit's calls from the circuit's next snapshot on.

    Args:
        when: Asked for each call, in the context that made it, whether the observer wants to
            hear of it; by default it hears of every call.
    """
    if all(each != observer for each, _when in _observers):
        _observers.append((observer, when))


def remove(observer: Observer) -> None:
    """Remove an observer."""
    _observers[:] = [each for each in _observers if each[0] != observer]


def listening() -> int:
    """Return how many observers there are."""
    return len(_observers)


def notifier(name: str, count: Count | None) -> Count:
    """Return a function that tells every observer about a call through a circuit, then counts it.

    It logs what an observer raises.
    """

    def notify(outcome: CallOutcome, seconds: float) -> None:
        for observer, when in _observers:
            try:
                if when is None or when():
                    observer(name, outcome, seconds)
            except Exception:
                logger.exception("An observer of the circuits failed.")
        if count is not None:
            count(outcome, seconds)

    return notify
