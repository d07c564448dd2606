"""Limits how long a caller waits for the circuits' database."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final, TypeVar

from .. import conf
from ..storage.announce import announce
from ..storage.contract import Changed
from ..storage.errors import SilentError
from .pulse import SILENT_SECONDS, Pulse
from .workers import Workers

T = TypeVar("T")

#: Seconds that work waits for a free thread before another thread is started.
BRIEF_SECONDS: Final = 0.1


def answer_of(work: Callable[[], T], workers: Workers, pulse: Pulse) -> T:
    """Do work that asks the database in a worker thread, and return its result.

    Raises:
        SilentError: No answer came within ``STORE_WAIT_SECONDS``, or the pulse has noticed that
            the database is silent. The work may still be done.
    """
    errand = workers.submit(work)
    if errand.wait(BRIEF_SECONDS):
        return errand.result()
    if not errand.has_begun:
        workers.grow()
    deadline = monotonic() + conf.get().store_wait_seconds
    while True:
        left = deadline - monotonic()
        if errand.wait(min(left, SILENT_SECONDS)):
            return errand.result()
        if left <= SILENT_SECONDS or pulse.is_silent():
            break
    errand.give_up(_announce_late)
    raise SilentError


def _announce_late(result: object) -> None:
    """Announce a change that was made after its caller had stopped waiting."""
    if isinstance(result, Changed):
        announce(result)
