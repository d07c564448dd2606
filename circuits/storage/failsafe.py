"""A store that goes on in memory while its database fails, so that the site stays up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from time import monotonic
from typing import Any, Final, TypeVar

from django.db import Error

from .. import conf, once_a_minute
from ..core.status import Failure, Permit, Step, Witness
from ..redaction import describe
from . import testruns
from .contract import NO_NOTE, Changed, Note, Snapshot, Tally
from .database import DatabaseStore, SteeredStore, in_memory
from .errors import InDoubtError, SilentError, drop_connection, is_bad_value, remedy
from .memory import MemoryStore

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

    Args:
        shared: The store in the database.
        memory: The store to use while the database does not answer.
        clock: A monotonic clock, in seconds.
        prepare: Called before the database is asked, and before a lock is taken.
        patiently: Asks the database; raises ``SilentError`` if no answer comes in time.
        is_silent: Returns whether the database is known to be silent.

    A value that the database cannot store, such as a name with characters it lacks, is not an
    outage: only that circuit stays in memory.
    """

    def __init__(
        self,
        shared: DatabaseStore,
        memory: MemoryStore,
        clock: Callable[[], float] = monotonic,
        prepare: Callable[[], object] = lambda: None,
        patiently: Callable[[Callable[[], Any]], Any] = lambda operation: operation(),
        is_silent: Callable[[], bool] = lambda: False,
    ) -> None:
        self._prepare = prepare
        self._patiently = patiently
        self._is_silent = is_silent
        self.shared = shared
        self.memory = memory
        self._clock = clock
        #: Whether a test has asked for all circuits to be in memory.
        self.pinned = False
        self.forget()

    def forget(self) -> None:
        """Forget the outage and the circuits in memory, as in a new process."""
        self.memory.forget()
        self._lock = Lock()
        self._revival = Lock()
        self._down = False
        self._retry_at = 0.0
        self._log_at = float("-inf")
        self._is_said = False

    def revive(self, name: str) -> None:
        """Try a database that failed ``STORE_RETRY_SECONDS`` ago again.

        The caller must hold no lock, since a silent database makes it wait.

        Args:
            name: The circuit whose row is written to. A read would not do: a read-only file or a
                full disk can still be read.
        """
        self._prepare()  # before the locks, which a parent may have held
        if not self.is_left or self.in_memory or not self._revival.acquire(blocking=False):
            return
        try:
            if self._clock() >= self._retry_at:
                self.shared.touch(name)
                self._note_recovery()
        except Error as error:
            if is_bad_value(error):  # tells nothing about the database; try another circuit
                self._retry_at = self._clock() + conf.get().store_retry_seconds
            else:
                self._note_failure(error)
        finally:
            self._revival.release()

    def read(self, name: str, known: Snapshot | None = None) -> Snapshot:
        """Return the circuit, or ``known`` itself if that is still true."""
        return self._run(lambda store: store.read(name, known))

    def find(self, name: str) -> Snapshot | None:
        """Return the circuit, or None if it does not exist."""
        return self._run(lambda store: store.find(name))

    def steer(self, name: str, decide: Callable[[Snapshot], S], note: Note) -> Changed[S]:
        """Change the circuit for all processes at the request of a person, or raise an error."""
        self._prepare()
        if self.in_memory:
            return in_memory(self.memory.steer(name, decide, note), note)
        return self.shared.steer(name, decide, note)

    def change(
        self, name: str, decide: Callable[[Snapshot], S], note: Note = NO_NOTE
    ) -> Changed[S]:
        """Change the circuit by ``decide``, which sees it under a lock."""
        if self.in_memory:
            return in_memory(self.memory.change(name, decide, note), note)
        return self._run(lambda store: store.change(name, decide, note))

    def count_failure(
        self, snapshot: Snapshot, permit: Permit, failure: Failure, error: str
    ) -> bool:
        """Count a failure; return false if it might change the state or no longer counts."""
        return self._run(lambda store: store.count_failure(snapshot, permit, failure, error))

    def note_failure(self, snapshot: Snapshot, permit: Permit, error: str) -> None:
        """Record the error of a failure that counts in a window."""
        self._run(lambda store: store.note_failure(snapshot, permit, error))

    def clear_failures(self, snapshot: Snapshot, permit: Permit, witness: Witness) -> bool:
        """Clear the run of failures of a closed circuit; return false if more is to be decided."""
        return self._run(lambda store: store.clear_failures(snapshot, permit, witness))

    def merge(
        self, name: str, decide: Callable[[Snapshot], S], note: Note = NO_NOTE
    ) -> Changed[S] | None:
        """Change the shared circuit; return None if the database does not answer."""
        if self.is_left:
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

    def read_all(self, names: Sequence[str]) -> Mapping[str, Snapshot]:
        """Return the circuits that exist, by name; none while the database does not answer."""
        try:
            return self.shared.read_all(names)
        except Error as error:
            self._note_failure(error)
            return {}

    def is_private(self) -> bool:
        """Return whether this thread is in a transaction whose changes others cannot see."""
        return self.shared.is_private()

    def flush(self, tallies: Sequence[Tally]) -> Sequence[Changed[Step] | None]:
        """Write tallies to the database.

        A value that the database cannot store is logged, and the error is raised.

        Raises:
            InDoubtError: The connection was lost during the commit, which may have been done.
            django.db.Error: The database does not answer; the caller keeps the tallies.
        """
        if self.in_memory:
            return [None] * len(tallies)
        self._prepare()
        try:
            return self.shared.flush(tallies)
        except Error as error:
            if is_bad_value(error):
                self._note_bad_value(error)
            else:
                self._note_failure(error)
            raise

    def _run(self, operation: Callable[[SteeredStore], T]) -> T:
        if self.is_left:
            return operation(self.memory)
        try:
            return self._ask(operation)
        except Error:
            if self._raises:
                raise
            return operation(self.memory)

    def _ask(self, operation: Callable[[SteeredStore], T]) -> T:
        """Run an operation on the database, and record whether it answers."""
        self._prepare()

        def ask() -> T:
            try:
                return operation(self.shared)
            except Error as error:
                if not is_bad_value(error):
                    drop_connection(self.shared.alias)  # here, in the thread that owns it
                raise

        try:
            result: T = self._patiently(ask)
        except Error as error:
            if is_bad_value(error):
                self._note_bad_value(error)
            elif not self._raises:
                self._note_failure(error)
            raise
        if self._down:
            self._note_recovery()
        return result

    @property
    def _raises(self) -> bool:
        return conf.get().on_store_error == "raise"

    @property
    def in_memory(self) -> bool:
        """Whether all circuits are in memory and the database is never asked, for tests."""
        return self.pinned or testruns.is_in_memory(self.shared.alias)

    @property
    def is_left(self) -> bool:
        """Whether only `revive` may ask the database at present."""
        if not self._down and self._is_silent() and not self._raises:
            self._note_failure(SilentError())
        return self.in_memory or (self._down and not self._raises)

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
            " ".join(filter(None, (describe(error), remedy(error)))),
        )

    def _note_bad_value(self, error: Error) -> None:
        """Log that the database cannot store a value; this is no outage."""
        if not once_a_minute.is_due("bad value"):
            return
        logger.error(
            "The circuits' database cannot keep a value; this process goes on by itself with its "
            "circuit: %s",
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
