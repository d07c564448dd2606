"""Limits how long a caller waits for the circuits' database."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final, TypeVar

from .. import conf
from ..storage.announce import announce
from ..storage.contract import Changed
from ..storage.errors import SilentError
from . import loops
from .pulse import Pulse
from .workers import LOOK_SECONDS, Workers

T = TypeVar("T")

#: Seconds that work waits for a free thread before another thread is started, and for an answer
#: even if the pulse has none.
BRIEF_SECONDS: Final = 0.1


def answer_of(work: Callable[[], T], workers: Workers, pulse: Pulse) -> T:
    """Do work that asks the database, and return its result.

    It is done in this thread with a connection that can be cut off, if a worker lends one. In an
    event loop Django allows no queries, so there a worker does it, as it does if it must connect.

    Raises:
        SilentError: No answer came within ``STORE_WAIT_SECONDS``, or the pulse has noticed that
            the database is silent. The work may still be done.
    """
    worker = None if loops.is_running() else workers.lend()
    if worker is None:
        return _answer_from_worker(work, workers, pulse)
    try:
        return worker.ask(work)
    finally:
        workers.free(worker)


def is_over(asked_at: float, pulse: Pulse) -> bool:
    """Return whether to stop waiting for an answer that was asked for at ``asked_at``."""
    waited = monotonic() - asked_at
    return waited >= conf.get().store_wait_seconds or (
        waited >= BRIEF_SECONDS and pulse.is_silent()
    )


def _answer_from_worker(work: Callable[[], T], workers: Workers, pulse: Pulse) -> T:
    asked_at = monotonic()
    errand = workers.submit(work)
    if errand.wait(BRIEF_SECONDS):
        return errand.result()
    if not errand.has_begun:
        workers.grow()
    while not is_over(asked_at, pulse):
        if errand.wait(LOOK_SECONDS):
            return errand.result()
    errand.give_up(_announce_late)
    raise SilentError


def _announce_late(result: object) -> None:
    """Announce a change that was made after its caller had stopped waiting."""
    if isinstance(result, Changed):
        announce(result)
