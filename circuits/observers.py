"""Who wants to hear of each call: metrics, tracing, a site's own code.

Nobody by default, and then a call costs nothing for it. Once somebody listens, every call is timed.
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
    #: It ended with something that says nothing about the remote, or was cancelled.
    IGNORED = "ignored"
    REFUSED = "refused"


class Observer(Protocol):
    """Hears of each call, in the thread and context that made it."""

    def __call__(self, name: str, outcome: CallOutcome, seconds: float) -> None:
        """Take note of a call; ``seconds`` is how long it took, 0 for a refused one."""


_observers: Final[list[Observer]] = []


def add(observer: Observer) -> None:
    """Let an observer hear of each call, from each circuit's next snapshot on."""
    if observer not in _observers:
        _observers.append(observer)


def remove(observer: Observer) -> None:
    """Let an observer hear no more."""
    if observer in _observers:
        _observers.remove(observer)


def any_listens() -> bool:
    """Whether anybody wants to hear."""
    return bool(_observers)


def notify(name: str, outcome: CallOutcome, seconds: float) -> None:
    """Tell every observer; what one of them raises is logged and harms nobody."""
    for observer in _observers:
        try:
            observer(name, outcome, seconds)
        except Exception:
            logger.exception("An observer of the circuits failed.")
