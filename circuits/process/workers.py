"""A few threads that ask the database, so that callers can stop waiting for it.

A driver waits for a silent server for seconds, until its timeouts pass. So a caller has a worker
thread ask, and continues in memory when no answer comes. The number of workers limits the database
connections of callers, however many threads the site has.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread, local
from time import monotonic
from typing import Any, Final, TypeVar

from django.db import connections

from . import pools
from .errands import Errand

T = TypeVar("T")

#: The most workers in one process.
MOST: Final = 4

#: Seconds after which an unused connection is reopened, since the server may have closed it.
IDLE_SECONDS: Final = 60.0


class Workers:
    """Does work in at most ``most`` threads. They end with the process and never hold it up."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self.forget()

    def forget(self) -> None:
        """Start anew in a forked child, which has none of its parent's threads."""
        self._lock = Lock()
        self._queue: SimpleQueue[Errand[Any]] = SimpleQueue()
        self._threads = 0
        self._here = local()

    def is_one(self) -> bool:
        """Return whether the calling thread is a worker."""
        return getattr(self._here, "is_worker", False)

    def submit(self, work: Callable[[], T]) -> Errand[T]:
        """Queue work for a worker, and return it as an errand."""
        errand = Errand(_giving_back(work))
        self._queue.put(errand)
        if not self._threads:
            self.grow()
        return errand

    def grow(self) -> None:
        """Start one more worker, up to the limit, because work has had to wait."""
        with self._lock:
            if self._threads < self._most:
                self._threads += 1
                Thread(target=self._run, name="circuits-worker", daemon=True).start()

    def _run(self) -> None:
        self._here.is_worker = True
        queue = self._queue
        used_at = monotonic()
        while True:
            errand = queue.get()
            if monotonic() - used_at > IDLE_SECONDS:
                connections.close_all()
            errand.do()
            used_at = monotonic()


def _giving_back(work: Callable[[], T]) -> Callable[[], T]:
    """Return the work so that it gives its connection back to the pool, if there is one."""

    def do() -> T:
        try:
            return work()
        finally:
            pools.give_back()

    return do
