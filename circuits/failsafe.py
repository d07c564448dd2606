"""Keeps the breaker from taking the site down: a store that outlives its database."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Final, TypeVar

from django.db import Error, connections

from . import conf
from .dberrors import InDoubtError
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

    A failed database is left alone for ``STORE_RETRY_SECONDS``; then one caller tries it again
    while the others go on in memory. With ``ON_STORE_ERROR = "raise"`` its errors are raised.
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
        self._down = False
        self._retry_at = 0.0
        self._log_at = float("-inf")
        self._is_said = False

    def read(self, name: str, known: Snapshot | None = None) -> Snapshot:
        """Return the circuit, or what was ``known`` of it if that still holds."""
        return self._run(name, lambda store: store.read(name, known))

    def change(
        self, name: str, decide: Callable[[Snapshot], S], note: Note = NO_NOTE
    ) -> Changed[S]:
        """Put the circuit to ``decide`` with no one else at it, and keep what it returns."""
        return self._run(name, lambda store: store.change(name, decide, note))

    def count_failure(self, snapshot: Snapshot, permit: Permit, settle: float, error: str) -> bool:
        """Count a failure that changes no state; false if it might, or counts no more."""
        return self._run(
            snapshot.name, lambda store: store.count_failure(snapshot, permit, settle, error)
        )

    def note_failure(self, snapshot: Snapshot, permit: Permit, error: str) -> None:
        """Note a failure that the rate strategy counts elsewhere."""
        self._run(snapshot.name, lambda store: store.note_failure(snapshot, permit, error))

    def clear_failures(self, snapshot: Snapshot, permit: Permit) -> None:
        """Set the run of failures of a closed circuit back to none."""
        self._run(snapshot.name, lambda store: store.clear_failures(snapshot, permit))

    def merge(
        self, name: str, decide: Callable[[Snapshot], S], note: Note = NO_NOTE
    ) -> Changed[S] | None:
        """Change the shared circuit, or return None where only memory would: keep it for later."""
        if not self._may_try():
            return None
        try:
            return self._ask(name, lambda shared: shared.change(name, decide, note))
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

    def _run(self, name: str, operation: Callable[[Store], T]) -> T:
        if not self._may_try():
            return operation(self.memory)
        try:
            return self._ask(name, operation)
        except Error:
            if self._raises:
                raise
            return operation(self.memory)

    def _ask(self, name: str, operation: Callable[[Store], T]) -> T:
        """Put an operation to the database, and note whether it answers."""
        try:
            if self._down:
                # A read-only file or a full disk can still be read, which is no recovery.
                self.shared.touch(name)
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

    def _may_try(self) -> bool:
        if self.pinned:
            return False
        if not self._down or self._raises:
            return True
        with self._lock:
            now = self._clock()
            if now < self._retry_at:
                return False
            self._retry_at = now + conf.get().store_retry_seconds
            return True

    def _note_failure(self, error: Error) -> None:
        self._drop_broken_connection()
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

    def _drop_broken_connection(self) -> None:
        """Close the connection: it may be dead, and outside a request nothing else would."""
        connection = connections[self.shared.alias]
        if not connection.in_atomic_block:
            connection.close()
