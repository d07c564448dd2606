"""This process's side of one circuit: its last snapshot, its own run of failures, its tallies.

The fast paths live here. They take no lock and ask nothing: a dict, one read of the monotonic
clock, a comparison. Whatever cannot be answered from memory goes to the store.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from threading import Lock
from time import monotonic
from typing import Final, TypeVar
from uuid import uuid4

from . import conf, machine, observers, windows
from .dberrors import InDoubtError
from .exceptions import CircuitBusyError, CircuitOpenError
from .gathering import Counter, OwnWindow, RefusalCounter
from .machine import Admission, Batch, Failure, Mode, Permit, Step, Strategy
from .observers import CallOutcome
from .store import NO_NOTE, Changed, Note, SharedStore, Snapshot, Tally, announce
from .windows import Outcome

S = TypeVar("S", bound=Step)

NEVER: Final = float("-inf")
FOREVER: Final = float("inf")

#: Seconds a call may take, where each asks for the state, before it asks again when it succeeds.
BRIEF_SECONDS: Final = 0.01

#: Seconds that a caller over ``max_concurrent`` is asked to wait.
BUSY_RETRY_SECONDS: Final = 1.0

#: Where jitter comes from; seed it to repeat a run.
random: Final = Random()


#: The classes that refusals are raised as; where another framework has its own, of both kinds.
refusals: Final[dict[str, type[CircuitOpenError]]] = {
    "open": CircuitOpenError,
    "busy": CircuitBusyError,
}


class Ticket:
    """Leave to make one call through a gate, and the way to report how it went, once.

    Args:
        started_at: When the call began, on the monotonic clock, where its duration matters.
        counted: Whether it holds one of the circuit's ``max_concurrent`` places.
    """

    __slots__ = ("counted", "gate", "is_plain", "permit", "started_at")

    def __init__(
        self, gate: Gate, permit: Permit, started_at: float = 0.0, counted: bool = False
    ) -> None:
        self.gate = gate
        self.permit = permit
        self.started_at = started_at
        self.counted = counted
        self.is_plain = permit.lease is None and not counted

    def succeed(self) -> None:
        """Report that the call succeeded."""
        if self.succeed_in_memory():
            self.gate.store_success(self)

    def succeed_in_memory(self) -> bool:
        """Report success as far as memory goes; return whether the store must hear of it."""
        gate = self.gate
        now = monotonic()
        if not (now < gate.plain_until and self.is_plain):
            return gate.hear_success(self)
        gate.tick_success()
        gate.succeeded_at = now
        gate.own_run = 0
        return False

    def fail(self, error: str, retry_after: float | None = None) -> None:
        """Report that the call failed.

        Args:
            error: Is kept, so it must hold no secrets.
            retry_after: Seconds the remote asked callers to wait, if it did.
        """
        self.end(CallOutcome.FAILURE)
        self.gate.store_failure(self.permit, error, retry_after)

    def release(self) -> None:
        """Report that the call came to nothing, and give its places back."""
        self.end(CallOutcome.IGNORED)
        if self.permit.lease is not None:
            self.gate.store_release(self.permit)

    def end(self, outcome: CallOutcome) -> None:
        """Give a place among the concurrent calls back, count a failure, and tell who listens."""
        if self.counted:
            self.counted = False
            self.gate.leave()
        if outcome is CallOutcome.FAILURE:
            self.gate.tick_failure()
        if self.started_at and observers.any_listens():
            observers.notify(self.gate.name, outcome, monotonic() - self.started_at)


class Gate:
    """One circuit as this process sees it.

    Args:
        name: The circuit's name.
        store: Where its row is.
    """

    def __init__(self, name: str, store: SharedStore) -> None:
        self.name = name
        self._store = store
        # Held while this process asks the store, so that one thread asks for all.
        self._lock = Lock()
        # Whether a thread has been asked to do so.
        self._will_be_renewed = False
        self.snapshot: Snapshot | None = None
        self._fresh_until = self._stale_until = NEVER
        # Whether the ticket's permit is the answer for as long as the snapshot holds.
        self._passes_all = False
        # The answer in memory: the ticket until passes_until, one like it but with the time of
        # the call until _times_until, a refusal until refuses_until.
        self.ticket = Ticket(self, Permit(0))
        self.passes_until = self._times_until = self.refuses_until = self.retry_at = NEVER
        # Whether the shared run of failures is known not to be zero.
        self.dirty = False
        # Until when a success needs nothing but to be counted.
        self.plain_until = NEVER
        self._window: OwnWindow | None = None
        # The last of the shared circuit's, while the window is that of one in memory.
        self._shared_window: OwnWindow | None = None
        self._busy = 0
        self._run_lock = Lock()
        self.own_run = 0
        self._own_generation = 0
        self._successes = Counter()
        self._failures = Counter()
        self._refusals = RefusalCounter()
        self.tick_success = self._successes.tick
        self.tick_failure = self._failures.tick
        self._tick_refusal = self._refusals.tick
        self.succeeded_at: float | None = None

    @property
    def used_at(self) -> float:
        """About when it was last asked, on the monotonic clock: when it last asked the store."""
        if self._busy or self.snapshot is None:
            return float("inf")  # it is in use right now
        return self.snapshot.read_at

    @property
    def timeout(self) -> float:
        """Seconds a remote call may take, unless the call says otherwise."""
        return conf.DEFAULT_TIMEOUT if self.snapshot is None else self.snapshot.timeout

    @property
    def failure_statuses(self) -> frozenset[int]:
        """The HTTP statuses that count as failures here."""
        own = None if self.snapshot is None else self.snapshot.failure_statuses
        return conf.get().failure_statuses if own is None else own

    @property
    def heeds_retry_after(self) -> bool:
        """Whether a ``Retry-After`` of the remote opens the circuit."""
        return self.snapshot is not None and self.snapshot.policy.respect_retry_after

    # Asking for leave

    def admit(self) -> Ticket:
        """Return leave to make a call.

        Raises:
            CircuitOpenError: The circuit refuses calls for now.
        """
        ticket = self.admit_in_memory()
        if ticket is not None:
            return ticket
        snapshot = self.current()
        if self._passes_all and snapshot is self.snapshot:
            return Ticket(self, self.ticket.permit, monotonic())
        return self.admit_by(snapshot) or self._answer(self._claim())

    def admit_in_memory(self) -> Ticket | None:
        """Answer without the store; None if only the store can.

        Raises:
            CircuitOpenError: The circuit refuses calls for now.
        """
        now = monotonic()
        if now < self.passes_until:
            return self.ticket
        if now < self._times_until:
            return Ticket(self, self.ticket.permit, now)
        if now < self.refuses_until:
            raise self.refused(self.retry_at - now)
        snapshot = self.snapshot
        if snapshot is None or not self._may_answer_at(now):
            return None
        return self.admit_by(snapshot)

    def admit_by(self, snapshot: Snapshot) -> Ticket | None:
        """Answer by a snapshot, however old; None where the row has to change for it.

        Raises:
            CircuitOpenError: The circuit refuses calls for now.
        """
        admission = self._ask(snapshot)
        return self._answer(admission) if admission.status is snapshot.status else None

    def _may_answer_at(self, now: float) -> bool:
        """Whether the snapshot is fresh, or a little stale while someone renews it."""
        is_renewed = self._will_be_renewed or self._lock.locked()
        return now < self._fresh_until or (now < self._stale_until and is_renewed)

    def begin_renewal(self) -> bool:
        """Return whether one read would do for all who ask; the caller then sees to it."""
        if not conf.get().snapshot_seconds or monotonic() < self._fresh_until:
            return False
        self._will_be_renewed = True
        return True

    def current(self) -> Snapshot:
        """Return the snapshot, renewed by one thread for all when it has aged."""
        self._store.revive(self.name)
        if not conf.get().snapshot_seconds:
            return self._renewed()
        waits = monotonic() >= self._stale_until
        if not self._lock.acquire(blocking=waits) and self.snapshot is not None:
            return self.snapshot
        try:
            if self.snapshot is not None and monotonic() < self._fresh_until:
                return self.snapshot
            return self._take(self._store.read(self.name))
        finally:
            self._lock.release()

    def _renewed(self) -> Snapshot:
        """Ask the store at each call, for no more than it takes to know that nothing is new."""
        known = self.snapshot
        # Where failures are counted, what is known has mostly changed.
        counting = self.dirty or (known is not None and known.is_counting)
        snapshot = self._store.read(self.name, None if counting else known)
        return snapshot if snapshot is known else self._take(snapshot)

    def _ask(self, snapshot: Snapshot) -> Admission:
        # Without a token: a snapshot gives no trial away, only the row does.
        now = snapshot.time(monotonic())
        return machine.admit(snapshot.status, snapshot.policy, now, "", random.random())

    def _claim(self) -> Admission:
        """Ask the store for a trial, unless another thread's claim has answered meanwhile."""
        with self._lock:
            snapshot = self.snapshot
            if snapshot is not None and monotonic() < self._fresh_until:
                admission = self._ask(snapshot)
                if admission.status is snapshot.status:
                    return admission
            changed = self._change_alone(
                lambda row: machine.admit(
                    row.status, row.policy, row.now, uuid4().hex, random.random()
                )
            )
        announce(changed)
        return changed.step

    def _answer(self, admission: Admission) -> Ticket:
        if admission.permit is None:
            raise self.refused(admission.retry_after or 0.0)
        if admission.retry_after is not None:
            self._tick_refusal()  # observe mode: it would have been refused
        limit = self.snapshot.policy.max_concurrent if self.snapshot else 0
        ticket = Ticket(self, admission.permit, monotonic(), counted=limit > 0)
        if limit and not self._enter(limit):
            if ticket.permit.lease is not None:
                self.store_release(ticket.permit)
            raise self.refused(BUSY_RETRY_SECONDS, "busy")
        return ticket

    def refused(self, retry_after: float, kind: str = "open") -> CircuitOpenError:
        """Count a refusal and return it, to be raised."""
        self._tick_refusal()
        if observers.any_listens():
            observers.notify(self.name, CallOutcome.REFUSED, 0.0)
        return refusals[kind](self.name, retry_after)

    def _enter(self, limit: int) -> bool:
        """Take one of the places for concurrent calls, if there is one."""
        with self._run_lock:
            if self._busy >= limit:
                return False
            self._busy += 1
            return True

    def leave(self) -> None:
        """Give a place for concurrent calls back."""
        with self._run_lock:
            self._busy -= 1

    # Reporting a result to the store

    def hear_success(self, ticket: Ticket) -> bool:
        """Take a success in that needs more than to be counted; true if the store must hear it."""
        is_trial = ticket.permit.lease is not None
        slow = self._is_slow(ticket)
        if slow and (is_trial or self._window is None):
            ticket.end(CallOutcome.FAILURE)
            return True
        ticket.end(CallOutcome.SUCCESS)
        self.tick_success()
        self.succeeded_at = monotonic()
        self.own_run = 0
        if self._window is None or is_trial:
            return is_trial or self.dirty or not self._knows_run(ticket)
        return self._hear_in_window(self._window, ticket.permit, slow)

    def _hear_in_window(self, window: OwnWindow, permit: Permit, slow: bool) -> bool:
        """Gather a success for the rate strategy; true if it is one slow call too many."""
        if permit.generation == window.generation and permit.counts:
            window.hear(Outcome.SLOW if slow else Outcome.GOOD)
        return slow and self._is_past_limit(window)

    def store_success(self, ticket: Ticket) -> None:
        """Report a success that may change the row."""
        permit = ticket.permit
        if self._window is not None and permit.lease is None:
            self.merge()
        elif self._is_slow(ticket):
            seconds = monotonic() - ticket.started_at
            self.store_failure(permit, f"SlowCall: it took {seconds:.1f} seconds")
        elif permit.lease is not None:
            self._change(
                lambda row: machine.succeed(row.status, row.policy, permit, row.now),
                Note(success=True),
            )
        else:
            self._end_run(ticket)

    def awaits_renewal(self, ticket: Ticket) -> bool:
        """Whether a success needs no more than one read that would do for all who need it."""
        is_plain = ticket.permit.lease is None and self._window is None
        has_more = self.dirty or self._is_slow(ticket)
        return is_plain and not has_more and self.begin_renewal()

    def _knows_run(self, ticket: Ticket) -> bool:
        """Whether this process knows of a shared run of failures that a success is to end.

        It may have begun after the call did, and what was known then may have aged meanwhile.
        """
        if conf.get().snapshot_seconds:
            return monotonic() < self._fresh_until
        return monotonic() < ticket.started_at + BRIEF_SECONDS

    def _end_run(self, ticket: Ticket) -> None:
        """Set the shared run of failures back."""
        permit = ticket.permit
        if not self._knows_run(ticket):
            self.current()
        if self.dirty and self.snapshot and self._is_current(permit):
            self.dirty = False
            self._take_policy(self.snapshot)
            self._store.clear_failures(self.snapshot, permit)

    def store_failure(self, permit: Permit, error: str, retry_after: float | None = None) -> None:
        """Report a failure: one UPDATE where it opens nothing, else under the row lock."""
        snapshot = self.snapshot
        if snapshot is None or not permit.counts or not self._is_current(permit):
            return
        settle = conf.get().snapshot_seconds
        own_run = self._count_own_failure(permit)
        failure = Failure(
            # Without snapshots the shared run is exact, and alone decides.
            own_run=own_run if settle > 0 else 0,
            settle_seconds=settle,
            chance=random.random(),
            retry_after=retry_after,
        )
        asked = machine.asked_delay(snapshot.policy, failure) is not None
        if permit.lease is None and not asked:
            if self._window is not None:
                self._fail_in_window(snapshot, permit, error)
                return
            if self._stays_closed(snapshot, failure) and self._store.count_failure(
                snapshot, permit, failure.settle_seconds, error
            ):
                self.dirty = True
                self.plain_until = NEVER
                return
        self._change(
            lambda row: machine.fail(row.status, row.policy, permit, row.now, failure),
            Note(error=error),
        )

    def _stays_closed(self, snapshot: Snapshot, failure: Failure) -> bool:
        """Whether this process's own run opens nothing; the store knows of the shared one."""
        forced = snapshot.status.mode is Mode.FORCED_CLOSED
        return forced or failure.own_run < snapshot.policy.threshold

    def _fail_in_window(self, snapshot: Snapshot, permit: Permit, error: str) -> None:
        """Gather a failure for the rate strategy, and merge at once if it is one too many."""
        window = self._window
        if window is None or window.generation != permit.generation:
            return
        window.hear(Outcome.FAILED)
        self._store.note_failure(snapshot, permit, error)
        if self._is_past_limit(window):
            self.merge(error)

    def _is_past_limit(self, window: OwnWindow) -> bool:
        snapshot = self.snapshot
        return snapshot is not None and window.is_past_limit(snapshot.policy, monotonic())

    def _is_slow(self, ticket: Ticket) -> bool:
        limit = self.snapshot.policy.slow_call_seconds if self.snapshot else 0.0
        # A call that began before anybody asked for its time has no start.
        is_timed = limit > 0 and ticket.started_at > 0
        return is_timed and monotonic() - ticket.started_at >= limit

    def merge(self, error: str = "") -> bool:
        """Merge what was gathered for the rate strategy; return whether there was anything.

        Args:
            error: The failure that made it urgent, for the history.
        """
        window, snapshot = self._window, self.snapshot
        if window is None or snapshot is None:
            return False
        heard = window.take(snapshot.policy, monotonic())
        if not heard:
            return False
        batch = Batch(
            generation=window.generation,
            counts=windows.counted(heard),
            recent=heard[-windows.MOST_CALLS :],
            own_run=self.own_run,
            settle_seconds=conf.get().flush_seconds,
        )
        merged = False
        try:
            merged = self._merge(window, batch, Note(words=error))
        except InDoubtError:
            merged = True  # perhaps; it must not count twice
            raise
        finally:
            if not merged:
                window.give_back(heard, monotonic())
        return merged

    def _merge(self, window: OwnWindow, batch: Batch, note: Note) -> bool:
        """Put a batch to the circuit; false if its store does not answer."""

        def decide(row: Snapshot) -> Step:
            return machine.merge(row.status, row.policy, row.now, batch)

        if not window.is_shared:
            self._change(decide, note)
            return True
        with self._lock:
            changed = self._store.merge(self.name, decide, note)
            if changed is not None:
                self._take(changed.after)
        if changed is not None:
            announce(changed)
        return changed is not None

    def store_release(self, permit: Permit) -> None:
        """Give a trial's place back."""
        self._change(lambda row: machine.release(row.status, permit))

    def expire(self) -> None:
        """Begin anew and ask the store at the next call: somebody has changed the circuit."""
        self.own_run = 0
        self.passes_until = self._times_until = self.refuses_until = NEVER
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
        # Each change renews the snapshot, so where many calls fail nobody asks for a new one.
        self._store.revive(self.name)
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
        self.passes_until = self._times_until = self.refuses_until = NEVER
        self._passes_all = False
        if self.snapshot is None or self.snapshot.status.generation != status.generation:
            self._refusals.begin(max(0, status.generation))
        self.snapshot = snapshot
        self._will_be_renewed = False
        self.dirty = snapshot.is_counting
        self._fresh_until = snapshot.read_at + age
        # What is in memory is this process's own, so nobody need wait for another to renew it.
        self._stale_until = snapshot.read_at + 2 * age if snapshot.is_shared else FOREVER
        self._take_policy(snapshot)
        if self._window is None:
            # A shared run that is shorter than one's own was ended by a success elsewhere.
            self.own_run = min(self.own_run, status.failure_count)
        if admission.status is not status:
            return snapshot
        if admission.permit is None:
            self.retry_at = snapshot.read_at + (admission.retry_after or 0.0)
            self.refuses_until = min(self._fresh_until, self.retry_at)
        elif admission.retry_after is None and not self._weighs_each_call(snapshot):
            self.ticket = Ticket(self, admission.permit)
            if self._times_each_call(snapshot):
                self._times_until = self._fresh_until
            else:
                self._passes_all = True
                self.passes_until = self._fresh_until
        return snapshot

    def _take_policy(self, snapshot: Snapshot) -> None:
        status, policy = snapshot.status, snapshot.policy
        if policy.strategy is not Strategy.RATE:
            self._window = None
        else:
            self._window = self._window_of(status.generation)
        needs_more = self.dirty or self._window is not None or self._times_each_call(snapshot)
        self.plain_until = NEVER if needs_more else self._fresh_until

    def _window_of(self, generation: int) -> OwnWindow:
        """Return what was heard of a generation; of the shared one even after an outage."""
        window = self._window
        if window is not None and window.is_shared:
            self._shared_window = window
        for known in (window, self._shared_window):
            if known is not None and known.generation == generation:
                return known
        return OwnWindow(generation)

    def _times_each_call(self, snapshot: Snapshot) -> bool:
        """Whether it matters how long a call takes, so that each needs a ticket of its own."""
        return observers.any_listens() or snapshot.policy.slow_call_seconds > 0

    def _weighs_each_call(self, snapshot: Snapshot) -> bool:
        """Whether a call may be refused while its neighbour passes."""
        policy = snapshot.policy
        ramps = machine.ramp_remaining(snapshot.status, policy, snapshot.now) > 0
        return ramps or policy.max_concurrent > 0

    # What was gathered

    def flush(self) -> bool:
        """Write the tallies down; return whether there was anything.

        Raises:
            InDoubtError: The store may have them and did not say. They are not written again.
            django.db.Error: The store does not answer. Nothing is lost: the tallies are kept.
        """
        self.merge()
        successes, failures = self._successes.take(), self._failures.take()
        refused = self._refusals.take_all()
        if not (successes or failures or refused):
            return False
        tally = Tally(
            name=self.name,
            at=self._shared_time(monotonic()),
            successes=successes,
            failures=failures,
            refused=refused,
            last_success_at=self._shared_time(self.succeeded_at) if successes else None,
        )
        try:
            self._store.flush(tally)
        except InDoubtError:
            raise
        except Exception:
            self._successes.give_back(successes)
            self._failures.give_back(failures)
            self._refusals.give_all_back(refused)
            raise
        return True

    def _shared_time(self, at: float | None) -> float | None:
        """Return a moment of the monotonic clock as the database's clock names it, if known."""
        snapshot = self.snapshot
        if snapshot is None or not snapshot.is_shared or at is None:
            return None
        return snapshot.time(at)
