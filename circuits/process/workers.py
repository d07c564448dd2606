"""A few threads with a connection each, through which callers ask the circuits' database.

A driver waits for a silent server for seconds, until its timeouts pass. So no caller waits for one
by itself: a worker asks in its place, or lends its open connection and cuts it off if the answer
takes too long. The number of workers limits the connections of callers, however many threads the
site has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Lock, Thread, local
from time import monotonic
from typing import Any, Final, TypeVar

from django.db import connections

from . import pools
from .errands import Errand
from .lines import Line

T = TypeVar("T")

#: The most workers in one process.
MOST: Final = 4

#: Seconds after which an unused connection is reopened, since the server may have closed it.
IDLE_SECONDS: Final = 60.0

#: Seconds between two looks at whether somebody has waited long enough for an answer.
LOOK_SECONDS: Final = 0.05


class Worker:
    """A thread that does errands. While it has none, its connection can be lent.

    Args:
        is_over: Returns whether to stop waiting for an answer; see :meth:`Line.cut_if`.
    """

    def __init__(self, is_over: Callable[[float], bool]) -> None:
        self._is_over = is_over
        self._line = Line()
        self._errands: SimpleQueue[Errand[Any] | None] = SimpleQueue()
        self._is_watching = False
        self._used_at = monotonic()

    def run(self, free: Callable[[Worker], None]) -> None:
        """Do errands for ever.

        Args:
            free: Called when it has nothing to do.
        """
        while True:
            free(self)
            errand = self._next()
            if self._is_stale():
                connections.close_all()
            errand.do()
            self._line.keep()
            self._used_at = monotonic()

    def do(self, errand: Errand[Any]) -> None:
        """Give it an errand. It must have none."""
        self._errands.put(errand)

    def can_lend(self) -> bool:
        """Return whether it has an open connection to lend."""
        return self._line.is_open() and not self._is_stale()

    def lend(self) -> None:
        """Begin to lend its connection to the calling thread, and watch over it."""
        self._line.lend()
        if not self._is_watching:
            self._is_watching = True
            self._errands.put(None)

    def ask(self, work: Callable[[], T]) -> T:
        """Do work in the calling thread with the connection lent to it; see :meth:`Line.ask`."""
        try:
            return self._line.ask(work)
        finally:
            self._used_at = monotonic()

    def _next(self) -> Errand[Any]:
        """Wait for an errand, and watch over the connection meanwhile if it is lent."""
        while True:
            try:
                errand = self._errands.get(timeout=LOOK_SECONDS if self._is_watching else None)
            except Empty:
                # Set first, so that a thread to which it is lent meanwhile sets it again.
                self._is_watching = False
                if self._line.is_asked():
                    self._is_watching = True
                    self._line.cut_if(self._is_over)
                continue
            if errand is not None:
                return errand

    def _is_stale(self) -> bool:
        return monotonic() - self._used_at > IDLE_SECONDS


class Workers:
    """At most ``most`` workers. Their threads end with the process and never hold it up.

    Args:
        is_over: Returns whether to stop waiting for an answer, by the moment at which it was asked
            for on the monotonic clock.
        most: The most workers.
    """

    def __init__(
        self, is_over: Callable[[float], bool] = lambda asked_at: False, most: int = MOST
    ) -> None:
        self._is_over = is_over
        self._most = most
        self.forget()

    def forget(self) -> None:
        """Start anew in a forked child, which has none of its parent's threads."""
        self._lock = Lock()
        self._number = 0
        # The one that was used last comes last, and is used first.
        self._idle: list[Worker] = []
        self._waiting: deque[Errand[Any]] = deque()
        self._here = local()

    def is_one(self) -> bool:
        """Return whether the calling thread is a worker."""
        return getattr(self._here, "is_worker", False)

    def submit(self, work: Callable[[], T]) -> Errand[T]:
        """Have a worker do some work as soon as one is free, and return it as an errand."""
        errand = Errand(_giving_back(work))
        with self._lock:
            worker = self._idle.pop() if self._idle else None
            if worker is None:
                self._waiting.append(errand)
        if worker is not None:
            worker.do(errand)
        elif not self._number:
            self.grow()
        return errand

    def lend(self) -> Worker | None:
        """Return a worker that lends its connection until it is freed; None if none can now."""
        with self._lock:
            if not self._idle or not self._idle[-1].can_lend():
                return None
            worker = self._idle.pop()
        worker.lend()
        return worker

    def free(self, worker: Worker) -> None:
        """Give a worker that has nothing to do the next errand, or let it wait for one."""
        with self._lock:
            errand = self._waiting.popleft() if self._waiting else None
            if errand is None:
                self._idle.append(worker)
        if errand is not None:
            worker.do(errand)

    def grow(self) -> None:
        """Start one more worker, up to the limit, because work has had to wait."""
        with self._lock:
            if self._number < self._most:
                self._number += 1
                Thread(target=self._run, name="circuits-worker", daemon=True).start()

    def _run(self) -> None:
        self._here.is_worker = True
        Worker(self._is_over).run(self.free)


def _giving_back(work: Callable[[], T]) -> Callable[[], T]:
    """Return the work so that it gives its connection back to the pool, if there is one."""

    def do() -> T:
        try:
            return work()
        finally:
            pools.give_back()

    return do
