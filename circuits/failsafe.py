"""Keeps the breaker from taking the site down: a store that outlives its database."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Final, TypeVar

from django.db import Error

from . import conf
from .dberrors import InDoubtError, drop_connection
from .machine import Permit, Step
from .memory import MemoryStore
from .redaction import describe
from .store import NO_NOTE, Changed, DatabaseStore, Note, Snapshot, Store, Tally

logger = logging.getLogger("circuits")

T = TypeVar("T")
S = TypeVar("S", bound=Step)

#: Seconds between two log lines about the same outage.
LOG_SECONDS: Final = 60.0


class FailSafeStore:
    """The shared store while it answers, this process's memory while it does not.

    A failed database is left alone for ``STORE_RETRY_SECONDS``; then one caller of `revive` tries
    it again while the others go on in memory. With ``ON_STORE_ERROR = "raise"`` its errors are
    raised.
    """

    def __init__(
        self,
        shared: DatabaseStore,
        memory: MemoryStore,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.shared = shared
        self.memory = memory
        self._clock = clock
        #: Whether to stay in memory and never ask the database, for tests.
        self.pinned = False
        self.forget()

    def forget(self) -> None:
        """Take the database for healthy again and forget the circuits in memory."""
        self.memory.forget()
        self._lock = Lock()
        self._revival = Lock()
        self._down = False
        self._retry_at = 0.0
        self._log_at = float("-inf")
        self._is_said = False

    def revive(self, name: str) -> None:
        """See whether a database that failed a while ago is back.

        Only a caller who holds no lock may come here: a silent database keeps one waiting.

        Args:
            name: The circuit whose row is written to. A read would not do: a read-only file or a
                full disk can still be read.
        """
        if self.pinned or not self._is_left or not self._revival.acquire(blocking=False):
            return
        try:
            if self._clock() >= self._retry_at:
                self.shared.touch(name)
                self._note_recovery()
        except Error as error:
            self._note_failure(error)
        finally:
            self._revival.release()

    def read(self, name: str, known: Snapshot | None = None) -> Snapshot:
        """Return the circuit, or what was ``known`` of it if that still holds."""
        return self._run(lambda store: store.read(name, known))

    def change(
        self, name: str, decide: Callable[[Snapshot], S], note: Note = NO_NOTE
    ) -> Changed[S]:
        """Put the circuit to ``decide`` with no one else at it, and keep what it returns."""
        return self._run(lambda store: store.change(name, decide, note))

    def count_failure(self, snapshot: Snapshot, permit: Permit, settle: float, error: str) -> bool:
        """Count a failure that changes no state; false if it might, or counts no more."""
        return self._run(lambda store: store.count_failure(snapshot, permit, settle, error))

    def note_failure(self, snapshot: Snapshot, permit: Permit, error: str) -> None:
        """Note a failure that the rate strategy counts elsewhere."""
        self._run(lambda store: store.note_failure(snapshot, permit, error))

    def clear_failures(self, snapshot: Snapshot, permit: Permit) -> None:
        """Set the run of failures of a closed circuit back to none."""
        self._run(lambda store: store.clear_failures(snapshot, permit))

    def merge(
        self, name: str, decide: Callable[[Snapshot], S], note: Note = NO_NOTE
    ) -> Changed[S] | None:
        """Change the shared circuit, or return None where only memory would: keep it for later."""
        if self._is_left:
            return None
        try:
            return self._ask(lambda shared: shared.change(name, decide, note))
        except InDoubtError:
            if self._raises:
                raise
            return self.memory.change(name, decide, note)  # not again: it might count twice
        except Error:
            if self._raises:
                raise
            return None

    def flush(self, tally: Tally) -> None:
        """Write down what the process has gathered.

        Raises:
            InDoubtError: The database may have done so, and did not say.
            django.db.Error: The database does not answer; the caller keeps the tally.
        """
        if self.pinned:
            return
        try:
            self.shared.flush(tally)
        except Error as error:
            self._note_failure(error)
            raise

    def _run(self, operation: Callable[[Store], T]) -> T:
        if self._is_left:
            return operation(self.memory)
        try:
            return self._ask(operation)
        except Error:
            if self._raises:
                raise
            return operation(self.memory)

    def _ask(self, operation: Callable[[Store], T]) -> T:
        """Put an operation to the database, and note whether it answers."""
        try:
            result = operation(self.shared)
        except Error as error:
            if not self._raises:
                self._note_failure(error)
            raise
        if self._down:
            self._note_recovery()
        return result

    @property
    def _raises(self) -> bool:
        return conf.get().on_store_error == "raise"

    @property
    def for_people(self) -> Store:
        """Where what people ask for is done: for all processes, or not at all."""
        return self.memory if self.pinned else self.shared

    @property
    def _is_left(self) -> bool:
        """Whether the database is left alone, but by `revive`."""
        return self.pinned or (self._down and not self._raises)

    def _note_failure(self, error: Error) -> None:
        drop_connection(self.shared.alias)
        with self._lock:
            now = self._clock()
            self._down = True
            self._retry_at = now + conf.get().store_retry_seconds
            if now < self._log_at:
                return
            self._log_at = now + LOG_SECONDS
            self._is_said = True
        logger.error(
            "The circuits' database does not answer; this process goes on by itself: %s",
            describe(error),
        )

    def _note_recovery(self) -> None:
        with self._lock:
            if not self._down:
                return
            self._down = False
            self.memory.forget()
            is_said, self._is_said = self._is_said, False
        if is_said:
            logger.warning("The circuits' database answers again; the shared state counts.")
