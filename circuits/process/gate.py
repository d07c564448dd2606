"""A circuit as one process sees it. It decides which calls may pass, from memory if possible.

A gate keeps all it knows in one frozen :class:`~circuits.process.view.View`. Outcomes are gathered
in its :class:`~circuits.process.tallies.Tallies` and reported by :mod:`circuits.process.results`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from random import Random
from threading import Lock, RLock
from time import monotonic, time
from typing import Final, Protocol

from .. import conf
from ..core import budget, conviction, machine
from ..core.injection import Fault
from ..core.policy import Strategy
from ..core.status import Admission, Permit, Witness
from ..exceptions import CircuitBusyError, CircuitOpenError
from ..storage.contract import SharedStore, Snapshot
from ..storage.database import new_circuit
from . import counts, identity, tapes
from .observers import CallOutcome
from .places import Places
from .sharing import Shared
from .tallies import Tallies
from .underway import FOREVER, Underway, next_look
from .view import NEVER, View, view_of

logger = logging.getLogger("circuits")

#: The ``retry_after``, in seconds, of a caller over ``max_concurrent``.
BUSY_RETRY_SECONDS: Final = 1.0

#: Seconds in which others can refute an accusation if each call asks for the state.
JUDGE_SECONDS: Final = 0.2

#: The least number of seconds for which a success of another process speaks for the remote: twice
#: the time that it may take to hear of one.
RECENT_SECONDS: Final = 10.0

#: Seconds for which the pulse goes on renewing a view after its last call.
KEEP_SECONDS: Final = 5.0

#: The source of jitter; seed it to repeat a run.
random: Final = Random()

#: Exception classes for refusals. An integration replaces them with subclasses of its framework's
#: own.
refusals: Final[dict[str, type[CircuitOpenError]]] = {
    "open": CircuitOpenError,
    "busy": CircuitBusyError,
}


class PlacesTakenError(CircuitBusyError):
    """All places of a circuit are taken, and the policy lets the caller wait for one.

    Args:
        gate: The gate of the circuit.
        permit: The caller's permit once it has a place, unless the circuit changes meanwhile.
        limit: How many places there are.
        seconds: For how many seconds the caller may wait.
    """

    def __init__(self, gate: Gate, permit: Permit, limit: int, seconds: float) -> None:
        super().__init__(gate.name, BUSY_RETRY_SECONDS)
        self.gate = gate
        self.permit = permit
        self.limit = limit
        self.seconds = seconds


class Renewer(Protocol):
    """Renews the views of gates in the background, so that callers need not."""

    def is_renewing(self) -> bool:
        """Return whether it renews views at present."""

    def keep_up(self) -> None:
        """Start to renew, since calls have come after a pause."""

    def look_soon(self, seconds: float = 0.0) -> None:
        """Renew in ``seconds`` rather than at the next beat, unless the beat comes first."""


class Ticket:
    """A permit to call through a gate, with what is needed to report the outcome.

    While a circuit is healthy, all its plain sync calls share one ticket, which the gate's view
    holds. Any other call has a ticket of its own.

    Args:
        gate: The gate that gave the permit.
        permit: The machine's permit.
        started_at: When the call began, on the monotonic clock; 0 if it is not timed.
        has_place: Whether the call holds one of the circuit's ``max_concurrent`` places.
        is_plain: Whether it is the ticket that plain calls share.

    Attributes:
        paused_at: When the caller turned to something else, on the monotonic clock; 0 if it has
            not.
        has_left: Whether the caller has left the call, so that no other call can ride on it.
        told: The outcome that the call has reported to its circuit.
        shared: The state it shares with the calls that ride on its permit; None if none do.
        is_watched: Whether the pulse looks after the call.
        is_counted: Whether the call was counted as overdue.
        has_ended: Whether the call has ended.
        look_at: When the pulse looks at the call next, on the monotonic clock.
    """

    __slots__ = (
        "gate",
        "has_ended",
        "has_left",
        "has_place",
        "is_counted",
        "is_plain",
        "is_watched",
        "look_at",
        "paused_at",
        "permit",
        "shared",
        "started_at",
        "told",
    )

    def __init__(
        self,
        gate: Gate,
        permit: Permit,
        started_at: float = 0.0,
        has_place: bool = False,
        is_plain: bool = False,
    ) -> None:
        self.gate = gate
        self.permit = permit
        self.started_at = started_at
        self.has_place = has_place
        self.is_plain = is_plain
        self.paused_at = 0.0
        self.is_watched = self.is_counted = self.has_ended = False
        self.look_at = FOREVER
        self.has_left = False
        self.told: CallOutcome | None = None
        self.shared: Shared[Ticket] | None = None

    def begun(self, at: float) -> Ticket:
        """Return the ticket to report a call with that began at ``at`` and has not gone plainly.

        The ticket that plain calls share does not know when each of them began.
        """
        if not self.is_plain or self.gate.observe is None:
            return self
        return Ticket(self.gate, self.permit, at, is_plain=True)

    def watch(self, at: float) -> None:
        """Have the pulse look after the call, from the time ``at`` on."""
        self.is_watched = True
        self.gate.underway.add(self, at)

    def count(self) -> bool:
        """Claim the right to count the call while it is under way; return whether it is granted."""
        if not self.gate.underway.take(self):
            return False
        self.is_counted = True
        return True

    def watch_on(self, at: float) -> None:
        """Have the pulse look after a counted call once more, unless it has ended."""
        self.gate.underway.add(self, at)
        if self.has_ended:  # it may have ended before it was added
            self.gate.underway.take(self)

    @property
    def is_in_window(self) -> bool:
        """Whether its outcome counts in the strategy's window; that of a trial does not."""
        return self.gate.tallies.window is not None and self.permit.lease is None

    def seconds(self, now: float) -> float:
        """Return for how many seconds the call has been under way, without its pauses."""
        return (self.paused_at or now) - self.started_at

    def pause(self) -> None:
        """Stop the call's clock while its caller does something else."""
        if self.started_at:  # otherwise many calls share the ticket, and it is not timed
            self.paused_at = monotonic()

    def go_on(self) -> None:
        """Start the call's clock again."""
        if not self.paused_at:
            return
        now = monotonic()
        self.started_at += now - self.paused_at
        self.paused_at = 0.0
        if self.is_watched:
            at = next_look(self, self.gate.snapshot, now)
            if at < self.look_at:  # the pulse has looked during the pause
                self.gate.underway.look(self, at)

    @property
    def holder(self) -> Ticket:
        """The ticket that holds the permit: its own, or that of the call it rides on."""
        return self if self.shared is None else self.shared.holder

    def end(self, outcome: CallOutcome) -> bool:
        """Give the place back, count a failure, and notify the observers.

        Returns:
            Whether the outcome is to be reported; false if one was reported already.
        """
        gate = self.gate
        if self.has_place:
            self.has_place = False
            gate.places.leave()
        self.has_ended = True
        was_there = not self.is_watched or gate.underway.take(self)
        counts = was_there and not self.is_counted
        if not (counts or self.is_in_window):
            outcome = CallOutcome.FAILURE  # it was counted as one when it was overdue
        elif outcome is CallOutcome.FAILURE:
            next(gate.tallies.failures)
        if self.started_at and gate.observe is not None:
            gate.observe(outcome, monotonic() - self.started_at)
        return counts


class Gate:
    """A circuit as this process sees it.

    Args:
        name: The circuit's name.
        store: The store that holds its row.
        renewer: Renews the view in the background; without one, callers renew it.
        home: The database that holds the row. Tallies are written to no other.
        underway: The calls of this process that the pulse looks after.
        process: The id of the process; by default one that no other gate has.
    """

    def __init__(
        self,
        name: str,
        store: SharedStore,
        renewer: Renewer | None = None,
        home: object = None,
        underway: Underway[Ticket] | None = None,
        process: str = "",
    ) -> None:
        self.name = name
        self.process = process or identity.new()
        self.underway: Underway[Ticket] = Underway() if underway is None else underway
        self.home = home
        self.store = store
        self.tallies = Tallies()
        self.places = Places()
        #: Held while calls that ride on one permit begin or end, which needs no I/O. Reentrant,
        #: since the garbage collector may end an abandoned call in a thread that holds it.
        self.sharing = RLock()
        self._renewer = renewer
        #: Held while a thread asks the store, so that the others wait for its answer.
        self.asking = Lock()
        # Held while the view is compared and swapped, which needs no I/O.
        self._swapping = Lock()
        # A snapshot from before this moment does not replace the view.
        self._known_at = NEVER
        self.view: View[Ticket] = View(leave=self._leave(Permit(0)))
        #: Called with the outcome and the duration of each call; None if nobody wants to know.
        #: It is chosen at each snapshot, so that a call need not ask who does.
        self.observe: Callable[[CallOutcome, float], None] | None = None
        #: The permit of a success that will clear a run of failures, if there turns out to be one.
        self.owes_clearing: Permit | None = None
        #: Whether the last flush could not write its tallies.
        self.is_troubled = False
        #: Whether its row was read inside a transaction of the caller's, as in a test.
        self.is_private = False
        # Until when the gate counts as in use without a further call.
        self._kept_until = NEVER

    @property
    def witness(self) -> Witness:
        """This process as a witness."""
        site = conf.get()
        return Witness(
            process=self.process,
            judge_seconds=site.snapshot_seconds or JUDGE_SECONDS,
            recent_seconds=max(RECENT_SECONDS, 2 * site.flush_seconds),
            succeeded_at=self.view.shared_time(self.tallies.succeeded_at),
        )

    @property
    def snapshot(self) -> Snapshot | None:
        """The store's last answer; None before the first."""
        return self.view.snapshot

    @property
    def used_at(self) -> float:
        """Roughly when it was last used, on the monotonic clock; infinity while places are held."""
        snapshot = self.view.snapshot
        if self.places.taken or snapshot is None:
            return float("inf")
        return snapshot.read_at

    def clock(self) -> float:
        """Return the time in seconds since 1970, by the database's clock as last read.

        While the circuit is in memory only, this is the time of this machine.
        """
        snapshot = self.view.snapshot
        if snapshot is None or not snapshot.is_shared:
            return time()
        return snapshot.time(monotonic())

    # Asking for a ticket

    def admit_in_memory(self) -> Ticket | None:
        """Return a ticket without asking the store; None if only the store can decide.

        Raises:
            CircuitOpenError: The circuit refuses calls for now.
        """
        view, now = self.view, monotonic()
        if now < view.passes_until:
            return view.leave
        if now < view.times_until:
            return self.ticket(view.leave.permit)
        if now < view.refuses_until:
            raise self.refused(view.retry_at - now, is_alone=view.is_alone)
        if view.snapshot is None or now >= view.fresh_until:
            return None
        if view.injection is not None:
            return None  # memory is only for calls that go straight to their remote
        return self.admit_by(view.snapshot)

    def admit_by(self, snapshot: Snapshot) -> Ticket | None:
        """Return a ticket according to a snapshot of any age; None if the row must change first.

        Raises:
            CircuitOpenError: The circuit refuses calls for now.
        """
        # The token is empty, since only a change of the row can give a trial away.
        at = monotonic()
        witness = self.witness
        if snapshot.policy.strategy is Strategy.THROTTLE:
            witness = replace(witness, asked_share=self.tallies.asked_share(snapshot.policy, at))
        admission = machine.admit(
            snapshot.status, snapshot.policy, snapshot.time(at), "", random.random(), witness
        )
        if admission.status is not snapshot.status:
            return None
        return self.answer(admission, snapshot)

    def fault(self) -> Fault | None:
        """Return the fault that is injected into a call that begins now, if any."""
        view = self.view
        if view.injection is None or view.snapshot is None:
            return None
        return view.injection.fault(view.snapshot.time(monotonic()), random.random())

    def answer(self, admission: Admission, snapshot: Snapshot) -> Ticket:
        """Return the ticket that the machine's answer allows.

        Raises:
            CircuitOpenError: The circuit refuses calls for now, or has no place for this one.
        """
        if admission.permit is None:
            raise self.refused(admission.retry_after or 0.0, is_alone=admission.is_alone)
        if admission.retry_after is not None:
            next(self.tallies.refusals)  # the call passes, since its refusal is not enforced
        limit = snapshot.policy.max_concurrent
        if limit and not self.places.enter(limit):
            raise self._busy(admission.permit, snapshot)
        return self.ticket(admission.permit, has_place=limit > 0)

    def _busy(self, permit: Permit, snapshot: Snapshot) -> CircuitOpenError:
        """Return the exception to raise if all places are taken. A trial does not wait for one."""
        policy = snapshot.policy
        if policy.max_wait_seconds and permit.lease is None:
            return PlacesTakenError(self, permit, policy.max_concurrent, policy.max_wait_seconds)
        return self.refused(BUSY_RETRY_SECONDS, "busy")

    def ticket(self, permit: Permit, *, has_place: bool = False) -> Ticket:
        """Return the ticket of a call that begins now, and have the pulse look after it."""
        now = monotonic()
        ticket = Ticket(self, permit, now, has_place)
        at = next_look(ticket, self.view.snapshot, now)
        if at < FOREVER:
            ticket.watch(at)
        return ticket

    def refused(
        self, retry_after: float, kind: str = "open", is_alone: bool = False
    ) -> CircuitOpenError:
        """Count a refusal, and return the exception to raise.

        Args:
            kind: A key of :data:`refusals`.
            is_alone: Whether this process alone cannot reach the remote.
        """
        next(self.tallies.refusals)
        if self.observe is not None:
            self.observe(CallOutcome.REFUSED, 0.0)
        if is_alone:
            return refusals[kind](self.name, retry_after, True)
        return refusals[kind](self.name, retry_after)

    def may_retry(self) -> bool:
        """Grant a retry, and count it, if the budget has one left. This asks no store."""
        now = monotonic()
        snapshot = self.view.snapshot or new_circuit(self.name, now)
        policy = snapshot.policy
        fleet = budget.recent(snapshot.retry_window, policy, snapshot.time(now))
        return self.tallies.may_retry(fleet, policy, now)

    def take(self, snapshot: Snapshot) -> Snapshot:
        """Take over a snapshot and return it, or return the present one if that is newer."""
        self.is_private = self.store.is_private()
        view = self._view_of(snapshot)
        self.observe = counts.observer_of(self.name)
        with self._swapping:
            known = self.view.snapshot
            if snapshot.known_at < self._known_at and known is not None:
                return known
            self._known_at = snapshot.known_at
            self._begin(snapshot, known)
            self.view = view
        self._await_verdict(snapshot)
        is_new = known is None or known.status.generation != snapshot.status.generation
        if is_new or view.refuses_until > NEVER:
            self.places.dismiss()
        if known is not None:
            self._tell(self._tries_alone(known), self._tries_alone(snapshot))
        return snapshot

    def _await_verdict(self, snapshot: Snapshot) -> None:
        """Have this process's accusation decided as soon as possible."""
        wait = conviction.verdict_in(snapshot.status, self.witness, snapshot.now)
        if wait and self._renewer is not None and self.is_renewed():
            self._renewer.look_soon(wait)

    def _view_of(self, snapshot: Snapshot) -> View[Ticket]:
        seconds = conf.get().snapshot_seconds
        tapes.follow(snapshot)
        if snapshot.is_shared and self.is_renewed():
            seconds *= 2  # the pulse renews it well before that
        return view_of(
            snapshot,
            self._leave,
            seconds=seconds,
            witness=self.witness,
        )

    def _leave(self, permit: Permit) -> Ticket:
        return Ticket(self, permit, is_plain=True)

    def _begin(self, snapshot: Snapshot, known: Snapshot | None) -> None:
        """Adapt the tallies to a snapshot's generation and strategy."""
        generation = snapshot.status.generation
        if known is None or known.status.generation != generation:
            self.tallies.refuse_by(max(0, generation))
        if snapshot.policy.has_window:
            self.tallies.open_window(generation)
        else:
            self.tallies.close_window()
        if self._is_alone(snapshot) and not (known is not None and self._is_alone(known)):
            self.tallies.begin_anew()

    def _tell(self, before: int, after: int) -> None:
        """Log that this process has gone into quarantine, or has come out of it."""
        if after and not before:
            logger.warning(
                "The process %s alone cannot reach %s; the others can. It tries by itself.",
                self.process,
                self.name,
            )
        elif before and not after:
            logger.info("The process %s is with the others again (%s)", self.process, self.name)

    def _tries_alone(self, snapshot: Snapshot) -> int:
        own = conviction.quarantine_of(snapshot.status, self.process)
        return 0 if own is None else own.tries

    def fails_for_this_process(self) -> bool:
        """Return whether this process has ``threshold`` failures in a row, or is quarantined."""
        snapshot = self.view.snapshot
        if snapshot is None:
            return False
        return self._is_alone(snapshot) or self.tallies.own_run >= snapshot.policy.threshold

    def _is_alone(self, snapshot: Snapshot) -> bool:
        """Return whether this process is in quarantine."""
        return conviction.quarantine_of(snapshot.status, self.process) is not None

    def swap(self, change: Callable[[View[Ticket]], View[Ticket]]) -> None:
        """Replace the view by ``change(view)``."""
        with self._swapping:
            self.view = change(self.view)

    def share(self) -> None:
        """Let plain calls share a ticket until the view is renewed, if they may."""
        view = self.view
        if view.shares_until == NEVER < min(view.plain_until, view.passes_until):
            self.swap(View.shared)

    def expire(self) -> None:
        """Expire the view after a change of the circuit, so that the next call asks the store."""
        self.tallies.clear_run()
        with self._swapping:
            self._known_at = monotonic()
            self.view = self.view.expired()
        self.places.dismiss()

    def is_in_use(self, now: float) -> bool:
        """Return whether calls have come lately. Only the thread that renews views may ask.

        Args:
            now: The present time on the monotonic clock.
        """
        if self.is_private or (now >= self._kept_until and now >= self.view.fresh_until):
            return False
        if self.places.taken or self.tallies.has_moved():
            self._kept_until = now + KEEP_SECONDS
        return now < self._kept_until

    def keep_up(self) -> None:
        """Have the view renewed in the background from now on."""
        self._kept_until = monotonic() + KEEP_SECONDS
        if self._renewer is not None:
            self._renewer.keep_up()

    def clear_soon(self, permit: Permit) -> bool:
        """Have the pulse clear the run that a success ends; return false if it cannot."""
        if not self.is_renewed() or self._renewer is None:
            return False
        self.owes_clearing = permit
        self._renewer.look_soon()
        return True

    def is_renewed(self) -> bool:
        """Return whether its view is renewed in the background at present."""
        return self._renewer is not None and not self.is_private and self._renewer.is_renewing()
