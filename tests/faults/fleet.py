"""The processes of a simulated site, and a perfect counter to compare them with.

Each process is a real :class:`circuits.process.gate.Gate`. Only the clock and the row behind the
gates are models; `tests/faults/test_fleet.py` checks that the row behaves as
:class:`circuits.storage.database.DatabaseStore` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from heapq import heapify, heapreplace
from random import Random
from typing import Protocol, TypeVar

from circuits import conf
from circuits.core import budget, conviction, machine, windows
from circuits.core.policy import Policy
from circuits.core.status import Change, Failure, Mode, Permit, State, Status, Step, Witness
from circuits.exceptions import CircuitOpenError
from circuits.process import asking, flushing, results
from circuits.process.gate import Gate, Ticket
from circuits.storage.contract import NO_NOTE, Changed, Note, Snapshot, Tally
from tests.clock import Clock

S = TypeVar("S", bound=Step)

NAME = "simulated"


class SharedRow:
    """The row of a circuit that many gates share, and the clock that they all use.

    Args:
        policy: The circuit's policy.
        clock: Returns the time in seconds, which only grows.
    """

    def __init__(self, policy: Policy, clock: Callable[[], float]) -> None:
        # The circuit has a past, since in a new one a process with bad luck is believed at once.
        self.status = Status(changed_at=clock())
        self.changes: list[Change] = []
        self._retry_window = windows.EMPTY
        self._policy = policy
        self._clock = clock

    def read(self, name: str, known: Snapshot | None = None) -> Snapshot:
        """Return the circuit as it is now."""
        now = self._clock()
        return Snapshot(
            name=name,
            status=self.status,
            policy=self._policy,
            timeout=conf.DEFAULT_TIMEOUT,
            failure_statuses=None,
            now=now,
            read_at=now,
            known_at=now,
            retry_window=self._retry_window,
        )

    def change(
        self, name: str, decide: Callable[[Snapshot], S], note: Note = NO_NOTE
    ) -> Changed[S]:
        """Change the circuit as ``decide`` says, and keep the result."""
        before = self.read(name)
        step = decide(before)
        self.status = step.status
        if step.change is not None:
            self.changes.append(step.change)
        return Changed(before=before, step=step)

    def count_failure(
        self, snapshot: Snapshot, permit: Permit, failure: Failure, error: str
    ) -> bool:
        """Count a failure that changes no state, if the conditional UPDATE would match the row."""
        now = self._clock()
        process, settle = failure.witness.process, failure.settle_seconds
        if not (self._is_closed_for(permit) and self._is_harmless(now, settle, process)):
            return False
        status = self.status
        started = now if status.run_started_at is None else status.run_started_at
        self.status = replace(
            status,
            failure_count=status.failure_count + 1,
            run_started_at=started,
            run_by=conviction.joined(status, process),
        )
        return True

    def note_failure(self, snapshot: Snapshot, permit: Permit, error: str) -> None:
        """Do nothing, since a note is only for people."""

    def clear_failures(self, snapshot: Snapshot, permit: Permit, witness: Witness) -> bool:
        """Set the run of failures of a closed circuit back to none, if nobody is accused."""
        status = self.status
        if not (self._is_closed_for(permit) and status.failure_count > 0) or status.accuser:
            return False
        cleared = replace(status, failure_count=0, run_started_at=None, run_by="")
        self.status = conviction.heard_success(cleared, witness.process, self._clock())
        return True

    def merge(
        self, name: str, decide: Callable[[Snapshot], S], note: Note = NO_NOTE
    ) -> Changed[S] | None:
        """Merge the outcomes of a process into the row."""
        return self.change(name, decide, note)

    def revive(self, name: str) -> None:
        """Do nothing, since this row never fails."""

    def flush(self, tallies: Sequence[Tally]) -> Sequence[Changed[Step] | None]:
        """Merge the batches and the retries, and drop the counts that are only for people."""
        return [self._merged(each) for each in tallies]

    def _merged(self, tally: Tally) -> Changed[Step] | None:
        at, batch = tally.last_success_at, tally.batch
        if at is not None and at >= (self.status.last_success_at or at):
            self.status = conviction.heard_success(self.status, tally.process, at)
        changed = self._spent(tally)
        if batch is None:
            return changed
        return self.change(NAME, lambda row: machine.merge(row.status, row.policy, row.now, batch))

    def _spent(self, tally: Tally) -> Changed[Step] | None:
        if tally.spending is None:
            return None
        window, now = self._retry_window, self._clock()
        self._retry_window = budget.merged(window, self._policy, now, tally.spending)
        return Changed(before=self.read(NAME), step=Step(self.status))

    def read_all(self, names: Sequence[str]) -> Mapping[str, Snapshot]:
        """Return the circuit as it is now."""
        return {name: self.read(name) for name in names}

    def is_private(self) -> bool:
        """Return False, since all processes share the row."""
        return False

    def _is_closed_for(self, permit: Permit) -> bool:
        status = self.status
        return status.state is State.CLOSED and status.generation == permit.generation

    def _is_harmless(self, now: float, settle: float, process: str) -> bool:
        status = self.status
        if status.quarantines:
            return False
        if status.failure_count < self._policy.threshold - 1 or status.mode is Mode.FORCED_CLOSED:
            return True
        started = status.run_started_at
        is_young = settle > 0 and started is not None and started > now - settle
        return is_young and status.run_by != process


class Counter(Protocol):
    """Decides which calls of a stream are made, and learns their outcomes."""

    #: The changes of state so far.
    changes: list[Change]
    #: The moments at which calls that were made failed.
    failed_at: list[float]

    def admit(self, process: int) -> object | None:
        """Return a permit or ticket for a call of a process; None to refuse it."""

    def settle(self, leave: object, fails: bool) -> None:
        """Take note of the outcome of a call."""


class Fleet:
    """The processes of a site, each with its own gate to one shared row.

    Args:
        processes: How many processes there are.
        policy: The circuit's policy.
        clock: The clock that the gates' modules were given.
        chance: Draws the moments at which each process flushes.
    """

    def __init__(self, processes: int, policy: Policy, clock: Clock, chance: Random) -> None:
        self._clock = clock
        self._row = SharedRow(policy, clock)
        self.changes = self._row.changes
        self.failed_at: list[float] = []
        self._gates = [Gate(NAME, self._row) for _ in range(processes)]
        # Each process flushes at its own moments, independently of the others.
        pause = conf.get().flush_seconds
        self._flushes = [(clock.now + chance.random() * pause, each) for each in range(processes)]
        heapify(self._flushes)

    def admit(self, process: int) -> Ticket | None:
        """Return the ticket of the process's gate; None if the gate refuses."""
        try:
            return asking.admit(self._gates[process])
        except CircuitOpenError:
            return None

    def settle(self, leave: object, fails: bool) -> None:
        """Settle the call at the gate that admitted it."""
        assert isinstance(leave, Ticket)
        if fails:
            self.failed_at.append(self._clock.now)
            results.fail(leave, "the remote is down")
        else:
            results.succeed(leave)

    def may_retry(self, process: int) -> bool:
        """Ask the budget of the process's gate for a retry."""
        return self._gates[process].may_retry()

    def flush_until(self, moment: float) -> None:
        """Let each process flush every ``FLUSH_SECONDS`` until a moment."""
        pause = conf.get().flush_seconds
        while self._flushes[0][0] <= moment:
            at, process = self._flushes[0]
            self._clock.now = at
            flushing.flush([self._gates[process]], self._row)
            heapreplace(self._flushes, (at + pause, process))


class Perfect:
    """The perfect counter: the state machine alone, which learns each outcome at once.

    Args:
        policy: The circuit's policy.
        clock: Returns the time in seconds, which only grows.
    """

    def __init__(self, policy: Policy, clock: Callable[[], float]) -> None:
        self.changes: list[Change] = []
        self.failed_at: list[float] = []
        self._status = Status()
        self._policy = policy
        self._clock = clock
        self._tokens = 0

    def admit(self, process: int) -> Permit | None:
        """Return a permit; None if the machine refuses."""
        self._tokens += 1
        admission = machine.admit(self._status, self._policy, self._clock(), str(self._tokens))
        self._keep(admission)
        return admission.permit

    def settle(self, leave: object, fails: bool) -> None:
        """Tell the machine the outcome of the call."""
        assert isinstance(leave, Permit)
        now = self._clock()
        if fails:
            self.failed_at.append(now)
            # The run is exact, so it alone decides, however young it is.
            alone = Failure(own_run=0, settle_seconds=0)
            self._keep(machine.fail(self._status, self._policy, leave, now, alone))
        else:
            self._keep(machine.succeed(self._status, self._policy, leave, now))

    def _keep(self, step: Step) -> None:
        self._status = step.status
        if step.change is not None:
            self.changes.append(step.change)
