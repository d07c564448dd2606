"""Circuits in the memory of one process: what goes on while the database cannot be reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from time import monotonic
from typing import TypeVar

from . import conf, machine
from .exceptions import TooManyCircuitsError
from .machine import MEMORY_GENERATION, POLICY_NAMES, Permit, Policy, Status, Step
from .store import NO_NOTE, Changed, Note, Snapshot, Tally
from .validation import check_name, parse_statuses

S = TypeVar("S", bound=Step)


class MemoryStore:
    """The same circuits, kept by this process alone, on its monotonic clock.

    Args:
        recall: Returns the last snapshot the process has of a circuit, to go on from.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        recall: Callable[[str], Snapshot | None] = lambda name: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._recall = recall
        self._clock = clock
        self.forget()

    def forget(self) -> None:
        """Forget every circuit."""
        self._lock = Lock()
        self._kept: dict[str, Snapshot] = {}

    def read(self, name: str, known: Snapshot | None = None) -> Snapshot:
        """Return the circuit, going on from what the process last knew of it."""
        with self._lock:
            return self._current(name)

    def change(
        self, name: str, decide: Callable[[Snapshot], S], note: Note = NO_NOTE
    ) -> Changed[S]:
        """Put the circuit to ``decide`` with no other thread at it, and keep what it returns."""
        with self._lock:
            before = self._current(name)
            step = decide(before)
            changed = Changed(before=before, step=step)
            self._kept[name] = changed.after
        return changed

    def count_failure(self, snapshot: Snapshot, permit: Permit, settle: float, error: str) -> bool:
        """Leave it to `change`, which costs nothing here."""
        return False

    def note_failure(self, snapshot: Snapshot, permit: Permit, error: str) -> None:
        """Note nothing: there is no row to write to."""

    def clear_failures(self, snapshot: Snapshot, permit: Permit) -> None:
        """Set the run of failures of a closed circuit back to none."""
        self.change(
            snapshot.name, lambda kept: machine.succeed(kept.status, kept.policy, permit, kept.now)
        )

    def flush(self, tally: Tally) -> None:
        """Keep nothing: there is no row to write to."""

    def put(self, name: str, status: Status) -> None:
        """Keep a circuit in a state of one's choosing, times on this store's clock."""
        made = self._made(name)
        with self._lock:
            self._kept[name] = replace(made, status=replace(status, generation=MEMORY_GENERATION))

    def drop(self, name: str) -> None:
        """Forget one circuit."""
        with self._lock:
            self._kept.pop(name, None)

    def _current(self, name: str) -> Snapshot:
        kept = self._kept.get(name) or self._begun(name)
        now = self._clock()
        current = self._kept[name] = replace(kept, now=now, read_at=now)
        return current

    def _begun(self, name: str) -> Snapshot:
        known = self._recall(name)
        if known is None:
            return self._made(name)
        return replace(known, status=machine.in_memory(known.status, known.read_at - known.now))

    def _made(self, name: str) -> Snapshot:
        check_name(name)
        limit = conf.get().max_circuits
        if len(self._kept) >= limit:
            raise TooManyCircuitsError(name, limit)
        values = conf.get().circuit(name)
        now = self._clock()
        return Snapshot(
            name=name,
            status=Status(generation=MEMORY_GENERATION),
            policy=Policy(**{key: values[key] for key in POLICY_NAMES if key in values}),
            timeout=values.get("timeout", conf.DEFAULT_TIMEOUT),
            failure_statuses=parse_statuses(values.get("failure_statuses", "")) or None,
            now=now,
            read_at=now,
        )
