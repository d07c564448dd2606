"""Limits how long a caller waits for the circuits' database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
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
    future = workers.submit(work)
    with suppress(TimeoutError):
        return future.result(timeout=BRIEF_SECONDS)
    if not future.running():
        workers.grow()
    deadline = monotonic() + conf.get().store_wait_seconds
    while True:
        left = deadline - monotonic()
        try:
            return future.result(timeout=max(0.0, min(left, SILENT_SECONDS)))
        except TimeoutError:
            if future.done():
                return future.result()  # the work itself raised TimeoutError
            if left <= SILENT_SECONDS or pulse.is_silent():
                break
    if not future.cancel():
        future.add_done_callback(_tell_late)
    raise SilentError


def _tell_late(future: Future[T]) -> None:
    """Announce a change that was made after its caller had stopped waiting."""
    if future.exception() is None:
        changed = future.result()
        if isinstance(changed, Changed):
            announce(changed)
