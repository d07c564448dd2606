"""Observers that are told about each call: metrics, tracing, a site's own code.

By default there are none, and calls cost nothing extra. With one, every call is timed.
"""

from __future__ import annotations

import logging
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


_observers: Final[list[Observer]] = []


def add(observer: Observer) -> None:
    """Add an observer. It hears of a circuit's calls from the circuit's next snapshot on."""
    if observer not in _observers:
        _observers.append(observer)


def remove(observer: Observer) -> None:
    """Remove an observer."""
    if observer in _observers:
        _observers.remove(observer)


#: Returns how many observers there are, as cheaply as possible, since each refusal asks.
listening: Final = _observers.__len__


def notify(name: str, outcome: CallOutcome, seconds: float) -> None:
    """Tell every observer about a call; log what an observer raises."""
    for observer in _observers:
        try:
            observer(name, outcome, seconds)
        except Exception:
            logger.exception("An observer of the circuits failed.")
