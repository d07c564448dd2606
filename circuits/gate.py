"""This process's side of one circuit: its last snapshot, its own run of failures, its tallies.

The fast paths live here. They take no lock and ask nothing: a dict, one read of the monotonic
clock, a comparison. Whatever cannot be answered from memory goes to the store.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from random import Random
from threading import Lock
from time import monotonic
from typing import Final, NoReturn, TypeVar
from uuid import uuid4

from . import conf, machine
from .exceptions import CircuitOpenError
from .machine import Admission, Failure, Mode, Permit, State, Step
from .store import NO_NOTE, Changed, Note, Snapshot, Store, Tally, announce

S = TypeVar("S", bound=Step)

NEVER: Final = float("-inf")

#: Where jitter comes from; seed it to repeat a run.
random: Final = Random()


class Counter:
    """A counter that threads tick without a lock: ``next`` of itertools.count is one step."""

    __slots__ = ("_reads", "_taken", "tick")

    def __init__(self) -> None:
        self.tick: Callable[[], int] = count().__next__
        self._taken = 0
        self._reads = 0

    def take(self) -> int:
        """Return the ticks since the last take; for one thread at a time."""
        # Reading is a tick too, so the reads are taken off again.
        total = self.tick() - self._reads
        self._reads += 1
        new = total - self._taken
        self._taken = total
        return new

    def give_back(self, ticks: int) -> None:
        """Count ticks again that were taken but could not be written."""
        self._taken -= ticks


class Ticket:
    """Leave to make one call through a gate, and the way to report how it went."""

    __slots__ = ("gate", "permit")

    def __init__(self, gate: Gate, permit: Permit) -> None:
        self.gate = gate
        self.permit = permit

    def succeed(self) -> None:
        """Report that the call succeeded."""
        if self.succeed_in_memory():
            self.gate.store_success(self.permit)

    def succeed_in_memory(self) -> bool:
        """Report success as far as memory goes; return whether the store must hear of it."""
        gate = self.gate
        gate.tick_success()
        gate.succeeded_at = monotonic()
        gate.own_run = 0
        return gate.dirty or self.permit.lease is not None

    def fail(self, error: str) -> None:
        """Report that the call failed; ``error`` is kept, so it must hold no secrets."""
        self.gate.store_failure(self.permit, error)

    def release(self) -> None:
        """Report that the call came to nothing, and give a trial's place back."""
        if self.permit.lease is not None:
            self.gate.store_release(self.permit)


class Gate:
    """One circuit as this process sees it.

    Args:
        name: The circuit's name.
        store: Where its row is.
    """

    def __init__(self, name: str, store: Store) -> None:
        self.name = name
        self._store = store
        # Held while this process asks the store, so that one thread asks for all.
        self._lock = Lock()
        self.snapshot: Snapshot | None = None
        self._fresh_until = self._stale_until = NEVER
        # The answer in memory: a ticket until passes_until, a refusal until refuses_until.
        self.ticket = Ticket(self, Permit(0))
        self.passes_until = self._refuses_until = self._retry_at = NEVER
        # Whether the shared run of failures is known not to be zero.
        self.dirty = False
        self._run_lock = Lock()
        self.own_run = 0
        self._own_generation = 0
        self._successes = Counter()
        self._refusals = Counter()
        self.tick_success = self._successes.tick
        self.succeeded_at: float | None = None

    @property
    def timeout(self) -> float:
        """Seconds a remote call may take, unless the call says otherwise."""
        return conf.DEFAULT_TIMEOUT if self.snapshot is None else self.snapshot.timeout

    # Asking for leave

    def admit(self) -> Ticket:
        """Return leave to make a call.

        Raises:
            CircuitOpenError: The circuit refuses calls for now.
        """
        ticket = self.admit_in_memory()
        if ticket is not None:
            return ticket
        snapshot = self._current()
        admission = self._ask(snapshot)
        if admission.status is not snapshot.status:
            admission = self._claim()
        return self._answer(admission)

    def admit_in_memory(self) -> Ticket | None:
        """Answer without the store; None if only the store can.

        Raises:
            CircuitOpenError: The circuit refuses calls for now.
        """
        now = monotonic()
        if now < self.passes_until:
            return self.ticket
        if now < self._refuses_until:
            self._refuse(self._retry_at - now)
        snapshot = self.snapshot
        if snapshot is None or not self._may_answer_at(now):
            return None
        admission = self._ask(snapshot)
        return self._answer(admission) if admission.status is snapshot.status else None

    def _may_answer_at(self, now: float) -> bool:
        """Whether the snapshot is fresh, or a little stale while someone renews it."""
        return now < self._fresh_until or (now < self._stale_until and self._lock.locked())

    def _current(self) -> Snapshot:
        """Return the snapshot, renewed by one thread for all when it has aged."""
        if not conf.get().snapshot_seconds:
            return self._take(self._store.read(self.name))
        waits = monotonic() >= self._stale_until
        if not self._lock.acquire(blocking=waits) and self.snapshot is not None:
            return self.snapshot
        try:
            if self.snapshot is not None and monotonic() < self._fresh_until:
                return self.snapshot
            return self._take(self._store.read(self.name))
        finally:
            self._lock.release()

    def _ask(self, snapshot: Snapshot) -> Admission:
        now = snapshot.time(monotonic())
        return machine.admit(snapshot.status, snapshot.policy, now, uuid4().hex)

    def _claim(self) -> Admission:
        """Ask the store for a trial, unless another thread's claim has answered meanwhile."""
        with self._lock:
            snapshot = self.snapshot
            if snapshot is not None and monotonic() < self._fresh_until:
                admission = self._ask(snapshot)
                if admission.status is snapshot.status:
                    return admission
            changed = self._change_alone(
                lambda row: machine.admit(row.status, row.policy, row.now, uuid4().hex)
            )
        announce(changed)
        return changed.step

    def _answer(self, admission: Admission) -> Ticket:
        if admission.permit is None:
            self._refuse(admission.retry_after or 0.0)
        if admission.retry_after is not None:
            self._refusals.tick()  # observe mode: it would have been refused
        return Ticket(self, admission.permit)

    def _refuse(self, retry_after: float) -> NoReturn:
        self._refusals.tick()
        raise CircuitOpenError(self.name, retry_after)

    # Reporting a result to the store

    def store_success(self, permit: Permit) -> None:
        """Report a success that may change the row."""
        if permit.lease is not None:
            self._change(
                lambda row: machine.succeed(row.status, row.policy, permit, row.now),
                Note(success=True),
            )
        elif self.dirty and self.snapshot and self._is_current(permit):
            self.dirty = False
            self._store.clear_failures(self.snapshot, permit)

    def store_failure(self, permit: Permit, error: str) -> None:
        """Report a failure: one UPDATE where it opens nothing, else under the row lock."""
        snapshot = self.snapshot
        if snapshot is None or not permit.counts or not self._is_current(permit):
            return
        settle = conf.get().snapshot_seconds
        # Without snapshots the shared run is exact, and alone decides.
        own_run = self._count_own_failure(permit) if settle > 0 else 0
        never_opens = snapshot.status.mode is Mode.FORCED_CLOSED
        may_stay_closed = permit.lease is None and (
            never_opens or own_run < snapshot.policy.threshold
        )
        if may_stay_closed and self._store.count_failure(snapshot, permit, settle, error):
            self.dirty = True
            return
        failure = Failure(own_run=own_run, settle_seconds=settle, chance=random.random())
        self._change(
            lambda row: machine.fail(row.status, row.policy, permit, row.now, failure),
            Note(error=error),
        )

    def store_release(self, permit: Permit) -> None:
        """Give a trial's place back."""
        self._change(lambda row: machine.release(row.status, permit))

    def expire(self) -> None:
        """Ask the store at the next call, since somebody has changed the circuit."""
        self.passes_until = self._refuses_until = NEVER
        self._fresh_until = self._stale_until = NEVER

    def _is_current(self, permit: Permit) -> bool:
        """Whether the permit's generation is not known to be over."""
        return self.snapshot is not None and permit.generation == self.snapshot.status.generation

    def _count_own_failure(self, permit: Permit) -> int:
        with self._run_lock:
            if permit.generation != self._own_generation:
                self._own_generation = permit.generation
                self.own_run = 0
            self.own_run += 1
            return self.own_run

    def _change(self, decide: Callable[[Snapshot], S], note: Note = NO_NOTE) -> None:
        with self._lock:
            changed = self._change_alone(decide, note)
        # Receivers of the signal may call through this very gate, so not under the lock.
        announce(changed)

    def _change_alone(self, decide: Callable[[Snapshot], S], note: Note = NO_NOTE) -> Changed[S]:
        changed = self._store.change(self.name, decide, note)
        self._take(changed.after)
        return changed

    # What the store said, made ready for the fast paths

    def _take(self, snapshot: Snapshot) -> Snapshot:
        status = snapshot.status
        age = conf.get().snapshot_seconds
        admission = machine.admit(status, snapshot.policy, snapshot.now, "")
        # First no answer, then the new one: a reader between the two asks the slow way.
        self.passes_until = self._refuses_until = NEVER
        self.snapshot = snapshot
        self.dirty = status.state is State.CLOSED and status.failure_count > 0
        self._fresh_until = snapshot.read_at + age
        self._stale_until = snapshot.read_at + 2 * age
        if admission.status is not status:
            return snapshot
        if admission.permit is None:
            self._retry_at = snapshot.read_at + (admission.retry_after or 0.0)
            self._refuses_until = min(self._fresh_until, self._retry_at)
        elif admission.retry_after is None:
            self.ticket = Ticket(self, admission.permit)
            self.passes_until = self._fresh_until
        return snapshot

    # What was gathered

    def flush(self) -> bool:
        """Write the tallies down; return whether there was anything.

        Raises:
            django.db.Error: The store does not answer. Nothing is lost: the tallies are kept.
        """
        successes, refusals = self._successes.take(), self._refusals.take()
        if not (successes or refusals):
            return False
        tally = Tally(
            name=self.name,
            successes=successes,
            refusals=refusals,
            last_success_at=self._last_success() if successes else None,
        )
        try:
            self._store.flush(tally)
        except Exception:
            self._successes.give_back(successes)
            self._refusals.give_back(refusals)
            raise
        return True

    def _last_success(self) -> float | None:
        """When this process last saw a success, if it knows the store's clock."""
        snapshot = self.snapshot
        if snapshot is None or not snapshot.is_shared or self.succeeded_at is None:
            return None
        return snapshot.time(self.succeeded_at)
