"""The thread that writes what the process has gathered, every ``FLUSH_SECONDS`` and at exit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event, Lock, Thread

from django.db import Error, connections

from . import conf

logger = logging.getLogger("circuits")


class Flusher:
    """Calls ``flush`` every ``FLUSH_SECONDS`` in a thread of its own.

    Args:
        flush: Writes down what was gathered; keeps it if the database does not answer.
    """

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self.forget()

    def forget(self) -> None:
        """Start anew in a forked child, which has none of its parent's threads."""
        self._lock = Lock()
        self._thread: Thread | None = None
        self._stopped = Event()

    def ensure_running(self) -> None:
        """Start the thread if there is none."""
        if self._is_running():
            return
        with self._lock:
            if not (self._is_running() or self._stopped.is_set()):
                self._thread = Thread(target=self._run, name="circuits-flush", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the thread and flush a last time."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=conf.get().flush_seconds)
            self._flush_once()

    def _is_running(self) -> bool:
        return self._thread is not None

    def _run(self) -> None:
        while not self._stopped.wait(conf.get().flush_seconds):
            self._flush_once()

    def _flush_once(self) -> None:
        try:
            self._flush()
        except Error:
            pass  # said by the store, once a minute; the tallies are kept for the next time
        except Exception:
            logger.exception("Could not write down the successes and refusals gathered.")
        finally:
            # The thread works now and then; a connection of its own would idle in between.
            connections.close_all()
