"""A store in the memory of one process, used while the database cannot be reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Lock
from time import monotonic
from typing import TypeVar

from ..core import machine
from ..core.machine import MEMORY_GENERATION
from ..core.status import Failure, Permit, Status, Step, Witness
from ..validation import check_name
from .contract import NO_NOTE, Changed, Note, Snapshot, Tally
from .database import new_circuit
from .room import check_room

S = TypeVar("S", bound=Step)


class MemoryStore:
    """Circuits that only this process keeps, on its monotonic clock.

    Args:
        recall: Returns the last snapshot that the process has of a circuit, to continue from.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        recall: Callable[[str], Snapshot | None] = lambda name: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._recall = recall
        self._clock = clock
        # The snapshots in which circuits begin that a test has put into a state.
        self._given: dict[str, Snapshot] = {}
        self.forget()

    def forget(self) -> None:
        """Forget all circuits."""
        self._lock = Lock()
        self._kept: dict[str, Snapshot] = {}

    def read(self, name: str, known: Snapshot | None = None) -> Snapshot:
        """Return the circuit, which continues from the last snapshot of this process."""
        with self._lock:
            return self._current(name)

    def find(self, name: str) -> Snapshot | None:
        """Return the circuit, or None if this process does not know it."""
        with self._lock:
            is_there = name in self._kept or name in self._given or self._recall(name) is not None
            return self._current(name) if is_there else None

    def steer(self, name: str, decide: Callable[[Snapshot], S], note: Note) -> Changed[S]:
        """Change the circuit. In a test's memory, every name is that of a circuit."""
        return self.change(name, decide, note)

    def change(
        self, name: str, decide: Callable[[Snapshot], S], note: Note = NO_NOTE
    ) -> Changed[S]:
        """Change the circuit by ``decide`` under this store's lock."""
        with self._lock:
            before = self._current(name)
            step = decide(before)
            changed = Changed(before=before, step=step, error=note.error)
            self._kept[name] = changed.after
        return changed

    def count_failure(
        self, snapshot: Snapshot, permit: Permit, failure: Failure, error: str
    ) -> bool:
        """Leave it to `change`, which costs nothing here."""
        return False

    def note_failure(self, snapshot: Snapshot, permit: Permit, error: str) -> None:
        """Do nothing: there is no row to write to."""

    def clear_failures(self, snapshot: Snapshot, permit: Permit, witness: Witness) -> bool:
        """Leave it to `change`, which costs nothing here."""
        return False

    def flush(self, tallies: Sequence[Tally]) -> Sequence[Changed[Step] | None]:
        """Write nothing: there is no row to write to."""
        return [None] * len(tallies)

    def put(self, name: str, status: Status | None) -> None:
        """Set the status in which a circuit begins. Its times are on this store's clock.

        Args:
            status: The status; None for that of a new circuit.
        """
        made = self._made(name)
        with self._lock:
            self._kept.pop(name, None)
            self._given.pop(name, None)
            if status is not None:
                given = replace(status, generation=MEMORY_GENERATION)
                self._given[name] = replace(made, status=given)

    def given(self, name: str) -> Status | None:
        """Return the status that :meth:`put` set; None if there is none."""
        given = self._given.get(name)
        return None if given is None else given.status

    def _current(self, name: str) -> Snapshot:
        kept = self._kept.get(name) or self._begun(name)
        now = self._clock()
        current = self._kept[name] = replace(kept, now=now, read_at=now, known_at=now)
        return current

    def _begun(self, name: str) -> Snapshot:
        if name in self._given:
            return self._given[name]
        known = self._recall(name)
        if known is None:
            return self._made(name)
        return replace(known, status=machine.in_memory(known.status, known.read_at - known.now))

    def _made(self, name: str) -> Snapshot:
        """Return a new circuit; :meth:`_current` says of when it is."""
        check_name(name)
        check_room(name, lambda number: len(self._kept) >= number)
        status = Status(generation=MEMORY_GENERATION)
        return replace(new_circuit(name, self._clock()), status=status)
