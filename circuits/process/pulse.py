"""The one background thread of a process: renews the views and writes the tallies.

Every ``SNAPSHOT_SECONDS`` it renews the views of all circuits in use with one statement, so that
callers need not. While no calls come it asks nothing. Every ``FLUSH_SECONDS``, and at the end of
the process, it flushes the tallies of all circuits in one transaction. A worker does that, so that
no renewal has to wait for a long transaction. It looks after the calls under way that need it. And
because it asks so often, it is the first to notice that the database has fallen silent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event, Lock, Thread
from time import monotonic
from typing import Final

from django.db import connections

from .. import conf, once_a_minute
from . import pools
from .errands import Errand
from .underway import FOREVER

logger = logging.getLogger("circuits")

#: Seconds without an answer after which the database counts as silent.
SILENT_SECONDS: Final = 0.25


class Pulse:
    """Calls ``renew`` and ``flush`` at their intervals, in a thread of its own.

    Args:
        renew: Renews the views in use; returns whether there are any.
        flush: Writes the tallies, and logs its errors.
        tend: Looks after the calls under way; returns when to do so next, on the monotonic clock.
        submit: Has another thread do some work; by default the pulse does it itself.
    """

    def __init__(
        self,
        renew: Callable[[], bool],
        flush: Callable[[], None],
        submit: Callable[[Callable[[], None]], Errand[None]] | None = None,
        tend: Callable[[], float] = lambda: FOREVER,
    ) -> None:
        self._renew = renew
        self._flush = flush
        self._tend = tend
        self._submit = _do if submit is None else submit
        self.forget()

    def forget(self) -> None:
        """Start anew in a forked child, which has none of its parent's threads."""
        self._lock = Lock()
        self._thread: Thread | None = None
        self._has_begun = False
        self._is_stopped = False
        self._wake = Event()
        self._renew_at = FOREVER
        self._flush_at = FOREVER
        self._tend_at = FOREVER
        self._asking_since = FOREVER
        self._flushing: Errand[None] | None = None

    # For callers

    def ensure_running(self) -> None:
        """Start the thread if there is none."""
        if self.has_thread():
            return
        with self._lock:
            if not (self.has_thread() or self._is_stopped):
                self._thread = Thread(target=self._run, name="circuits-pulse", daemon=True)
                self._thread.start()

    def is_running(self) -> bool:
        """Return whether the thread has begun to run. Under some servers threads never do."""
        return self._has_begun and not self._is_stopped

    def is_renewing(self) -> bool:
        """Return whether it renews views at present, so that callers need not."""
        return self.is_running() and conf.get().snapshot_seconds > 0

    def keep_up(self) -> None:
        """Start to renew, since calls have come after a pause."""
        if self._renew_at == FOREVER:
            self._renew_at = monotonic() + conf.get().snapshot_seconds
            self._wake.set()

    def look_soon(self, seconds: float = 0.0) -> None:
        """Renew in ``seconds`` rather than at the next beat, unless the beat comes first."""
        self._renew_at = min(self._renew_at, monotonic() + seconds)
        self._wake.set()

    def tend_by(self, at: float) -> None:
        """Look after the calls under way at the time ``at`` at the latest."""
        if at >= self._tend_at:
            return
        with self._lock:
            self._tend_at = min(at, self._tend_at)
        self._wake.set()

    def is_silent(self) -> bool:
        """Return whether the database has been asked and has not answered in time."""
        return monotonic() - self._asking_since >= SILENT_SECONDS

    def stop(self) -> None:
        """End the thread, and flush one last time."""
        self._is_stopped = True
        self._wake.set()
        thread = self._thread
        if thread is not None:
            patience = conf.get().flush_seconds
            thread.join(timeout=patience)
            if self._flushing is not None:
                self._flushing.wait(patience)
            self._flush_and_disconnect()

    def has_thread(self) -> bool:
        """Return whether this process has started the thread, and may have tallies to write."""
        return self._thread is not None

    # In the thread

    def _run(self) -> None:
        self._has_begun = True
        self._flush_at = monotonic() + conf.get().flush_seconds
        try:
            while not self._is_stopped:
                pause = min(self._renew_at, self._flush_at, self._tend_at) - monotonic()
                if pause > 0:
                    self._wake.wait(pause)
                    self._wake.clear()
                self._beat_on()
        finally:
            connections.close_all()

    def _beat_on(self) -> None:
        """Do what is due; an unforeseen error is logged and does not end the thread."""
        try:
            self.beat()
        except Exception:
            if once_a_minute.is_due("pulse"):
                logger.exception("The circuits' background thread met an error, and goes on.")

    def beat(self) -> None:
        """Renew, flush or tend, whichever is due."""
        now = monotonic()
        if now >= self._renew_at and not self._is_stopped:
            self._renew_at = now + conf.get().snapshot_seconds
            if not self._ask(self._renew):
                self._renew_at = FOREVER
        if now >= self._flush_at and not self._is_stopped:
            self._flush_at = now + conf.get().flush_seconds
            if self._flushing is None or self._flushing.wait(0):
                self._flushing = self._submit(self._flush_by_itself)
            if self._is_idle():
                connections.close_all()
        if now >= self._tend_at and not self._is_stopped:
            self._tend_at = FOREVER  # set first, so that a call that begins meanwhile can lower it
            self.tend_by(self._tend())
            pools.give_back()

    def _is_idle(self) -> bool:
        """Return whether no calls come, so that no database session need be kept open."""
        return self._renew_at == FOREVER

    def _flush_by_itself(self) -> None:
        if self._is_idle():
            self._flush_and_disconnect()
        else:
            self._flush()

    def _ask(self, work: Callable[[], bool]) -> bool:
        self._asking_since = monotonic()
        try:
            return work()
        finally:
            self._asking_since = FOREVER
            pools.give_back()

    def _flush_and_disconnect(self) -> None:
        try:
            self._flush()
        finally:
            connections.close_all()


def _do(work: Callable[[], None]) -> Errand[None]:
    errand = Errand(work)
    errand.do()
    errand.result()  # raises what the work has raised
    return errand
