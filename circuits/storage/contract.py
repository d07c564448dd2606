"""The interface of a store of circuits, and the values it takes and returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, Protocol, TypeVar

from ..core import latency, windows
from ..core.budget import Spending
from ..core.latency import Histogram
from ..core.policy import Policy, Strategy
from ..core.status import Batch, Failure, Permit, State, Status, Step, Witness
from ..core.windows import Window
from ..models import Transition

S = TypeVar("S", bound=Step)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a store knew of a circuit at one moment.

    Args:
        failure_statuses: HTTP statuses that count as failures; None for those of the settings.
        now: That moment, in seconds on the store's clock.
        read_at: The same moment on this process's monotonic clock.
        known_at: The latest time, on the monotonic clock, at which the snapshot was known to be
            true: when an unlocked read began, or when a locked change was committed.
        key: The primary key of the circuit's row; 0 without one.
        refused: How many calls were refused since the circuit left closed, as far as flushed.
        last_error: The redacted error of the last failed call.
        recorded_until: When the recording of its calls ends, in seconds on the store's clock.
        retry_window: The recent calls and retries of the processes that retry, as far as flushed.
    """

    name: str
    status: Status
    policy: Policy
    timeout: float
    failure_statuses: frozenset[int] | None
    now: float
    read_at: float
    known_at: float
    key: int = 0
    refused: int = 0
    last_error: str = ""
    recorded_until: float | None = None
    retry_window: Window = windows.EMPTY

    @property
    def is_shared(self) -> bool:
        """Whether the snapshot comes from the database, not from this process's memory."""
        return self.status.generation >= 0

    @property
    def is_counting(self) -> bool:
        """Whether there is a run of failures, or an accusation, that a success would clear."""
        status = self.status
        counts = self.policy.strategy is Strategy.CONSECUTIVE and status.failure_count > 0
        return status.state is State.CLOSED and (counts or status.accuser != "")

    def is_current(self, permit: Permit) -> bool:
        """Return whether a permit is of the generation that the snapshot shows."""
        return permit.generation == self.status.generation

    def time(self, at: float) -> float:
        """Convert a time on the monotonic clock to the store's clock, in seconds."""
        return self.now + (at - self.read_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Details to write to the row and the history along with a step.

    Args:
        error: The redacted error of a failed call.
        success: Whether a call succeeded.
        actor: The person or program that asked for the change; empty for the machine.
        reason: The reason that the actor gave.
    """

    error: str = ""
    success: bool = False
    actor: str = ""
    reason: str = ""


NO_NOTE: Final = Note()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The outcomes that a process has gathered for one circuit since its last flush.

    Args:
        at: The present time, in seconds on the store's clock; None if that is unknown.
        refused: Number of refusals by generation; 0 stands for a generation in memory only.
        last_success_at: When a call last succeeded, in seconds on the store's clock.
        process: The id of the process.
        batch: The outcomes gathered for the window.
        durations: The durations of the calls that were answered and timed.
        spending: The calls and retries for the budget of retries; None if the process has never
            asked for a retry.
    """

    name: str
    at: float | None
    successes: int
    failures: int
    refused: Mapping[int, int]
    last_success_at: float | None
    process: str = ""
    batch: Batch | None = None
    durations: Histogram = latency.EMPTY
    spending: Spending | None = None

    @property
    def refusals(self) -> int:
        """The number of refusals in all generations."""
        return sum(self.refused.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed(Generic[S]):
    """The result of a change.

    Args:
        before: The circuit as the decision found it.
        step: What the decision returned.
        transition: The row in the history, if the database has one.
        committed_at: When the change was committed, on the monotonic clock.
        error: The redacted error that was written with it; empty if there was none.
    """

    before: Snapshot
    step: S
    transition: Transition | None = None
    committed_at: float | None = None
    error: str = ""

    @property
    def after(self) -> Snapshot:
        """The circuit as the decision left it."""
        before, status = self.before, self.step.status
        goes_down = before.status.down_since is None and status.down_since is not None
        return replace(
            before,
            status=status,
            known_at=before.known_at if self.committed_at is None else self.committed_at,
            refused=0 if goes_down else before.refused,
            last_error=self.error or before.last_error,
        )

    @property
    def happened(self) -> bool:
        """Whether the decision changed anything."""
        return self.step.status is not self.before.status


class Store(Protocol):
    """A place where circuits are kept: the database, or the process's memory."""

    def read(self, name: str, known: Snapshot | None = None) -> Snapshot:
        """Return the circuit; make it from the settings at its first use.

        Args:
            known: An earlier snapshot; it is returned itself if it is still true.
        """

    def change(
        self, name: str, decide: Callable[[Snapshot], S], note: Note = NO_NOTE
    ) -> Changed[S]:
        """Change the circuit by ``decide``, which sees it under a lock.

        The caller passes the result to :func:`announce` once it holds no lock.
        """

    def count_failure(
        self, snapshot: Snapshot, permit: Permit, failure: Failure, error: str
    ) -> bool:
        """Count a failure; return false if it might change the state or no longer counts."""

    def note_failure(self, snapshot: Snapshot, permit: Permit, error: str) -> None:
        """Record the error of a failure that counts in a window."""

    def clear_failures(self, snapshot: Snapshot, permit: Permit, witness: Witness) -> bool:
        """Clear the run of failures of a closed circuit.

        Returns:
            False if there is no run, or if the machine has more to decide.
        """

    def flush(self, tallies: Sequence[Tally]) -> Sequence[Changed[Step] | None]:
        """Write tallies in one transaction and in the order given.

        Returns:
            The result of each batch or spending; None for a tally without either, or for a deleted
            circuit.
        """


class SharedStore(Store, Protocol):
    """A store of circuits that other processes share, which may be out of reach."""

    def merge(
        self, name: str, decide: Callable[[Snapshot], S], note: Note = NO_NOTE
    ) -> Changed[S] | None:
        """Change the shared circuit by a batch; return None if the batch must be kept for now."""

    def read_all(self, names: Sequence[str]) -> Mapping[str, Snapshot]:
        """Return the circuits that exist, by name, with one statement."""

    def is_private(self) -> bool:
        """Return whether this thread is in a transaction whose changes others cannot see."""

    def revive(self, name: str) -> None:
        """Try a failed database again. The caller must hold no lock, and may have to wait."""
