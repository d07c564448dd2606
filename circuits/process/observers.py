"""Observers that are told about each call: metrics, tracing, a site's own code.

There are none by default, and then they cost a call nothing. With one, every call is timed.
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
    #: It was cancelled, or ended with something that says nothing about the remote.
    IGNORED = "ignored"
    REFUSED = "refused"


class Observer(Protocol):
    """Is called for each call through a circuit, in the thread and context that made it."""

    def __call__(self, name: str, outcome: CallOutcome, seconds: float) -> None:
        """Record a call; ``seconds`` is its duration, 0 for a refused one."""


_observers: Final[list[Observer]] = []


def add(observer: Observer) -> None:
    """Add an observer, which is told about calls from each circuit's next snapshot on."""
    if observer not in _observers:
        _observers.append(observer)


def remove(observer: Observer) -> None:
    """Remove an observer."""
    if observer in _observers:
        _observers.remove(observer)


#: Returns how many observers there are, at the least cost: each refusal asks.
listening: Final = _observers.__len__


def notify(name: str, outcome: CallOutcome, seconds: float) -> None:
    """Tell every observer about a call; log what an observer raises."""
    for observer in _observers:
        try:
            observer(name, outcome, seconds)
        except Exception:
            logger.exception("An observer of the circuits failed.")
