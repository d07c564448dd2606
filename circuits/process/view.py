"""A process's knowledge of a circuit, prepared to answer calls, as one frozen value.

A gate holds one reference to its view and swaps it in one assignment, so no caller ever sees a mix
of an old and a new answer. All times are on this process's monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from .. import conf
from ..core import conviction, machine
from ..core.injection import Injection, under_way
from ..core.status import NOBODY, Permit, Witness
from ..storage.contract import Snapshot

L = TypeVar("L")

NEVER: Final = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class View(Generic[L]):
    """The answers that a snapshot allows without asking the store.

    Args:
        leave: The ticket that all plain calls of a healthy circuit share.
        snapshot: The store's last answer; None before the first.
        fresh_until: Until when the snapshot may be used.
        passes_until: Until when every call passes without being timed.
        shares_until: Until when every plain call may also have the same ticket; in the past until
            one call has been timed.
        times_until: Until when every call passes and is timed.
        refuses_until: Until when every call is refused.
        retry_at: When the next call may pass, if calls are refused.
        plain_until: Until when a success only has to be counted.
        is_counting: Whether there is a run of failures that a success would clear.
        needs_each: Whether each success matters by itself, because it is timed or in a window.
        is_alone: Whether calls are refused because this process is in quarantine.
        injection: The faults to inject into calls. Each call is then weighed by itself.
    """

    leave: L
    snapshot: Snapshot | None = None
    fresh_until: float = NEVER
    passes_until: float = NEVER
    shares_until: float = NEVER
    times_until: float = NEVER
    refuses_until: float = NEVER
    retry_at: float = NEVER
    plain_until: float = NEVER
    is_counting: bool = False
    needs_each: bool = False
    is_alone: bool = False
    injection: Injection | None = None

    @property
    def timeout(self) -> float:
        """The timeout of a remote call in seconds, unless the call gives its own."""
        return conf.DEFAULT_TIMEOUT if self.snapshot is None else self.snapshot.timeout

    @property
    def failure_statuses(self) -> frozenset[int]:
        """The HTTP statuses that count as failures of this circuit."""
        own = None if self.snapshot is None else self.snapshot.failure_statuses
        return conf.get().failure_statuses if own is None else own

    @property
    def heeds_retry_after(self) -> bool:
        """Whether a ``Retry-After`` from the remote opens the circuit."""
        return self.snapshot is not None and self.snapshot.policy.respect_retry_after

    def is_current(self, permit: Permit) -> bool:
        """Return whether a permit is of the present generation, as far as this process knows."""
        return self.snapshot is not None and self.snapshot.is_current(permit)

    def shared_time(self, at: float | None) -> float | None:
        """Convert a time on the monotonic clock to the database's clock; None if unknown."""
        if self.snapshot is None or not self.snapshot.is_shared or at is None:
            return None
        return self.snapshot.time(at)

    def expired(self) -> View[L]:
        """Return the view with its answers expired, so that the next call asks the store."""
        return replace(
            self,
            fresh_until=NEVER,
            passes_until=NEVER,
            shares_until=NEVER,
            times_until=NEVER,
            refuses_until=NEVER,
            plain_until=NEVER,
        )

    def shared(self) -> View[L]:
        """Return the view once a call is timed, from which on plain calls share a ticket."""
        return replace(self, shares_until=min(self.plain_until, self.passes_until))

    def with_run(self) -> View[L]:
        """Return the view of a circuit that has just counted a failure."""
        return replace(self, is_counting=True, plain_until=NEVER, shares_until=NEVER)

    def without_run(self) -> View[L]:
        """Return the view of a circuit whose run of failures a success has just ended."""
        plain_until = NEVER if self.needs_each else self.fresh_until
        shares_until = min(plain_until, self.passes_until)
        return replace(self, is_counting=False, plain_until=plain_until, shares_until=shares_until)


def view_of(
    snapshot: Snapshot,
    leave: Callable[[Permit], L],
    *,
    seconds: float,
    witness: Witness = NOBODY,
) -> View[L]:
    """Return the view of a snapshot.

    Args:
        leave: Makes the ticket for plain calls from their permit.
        seconds: Seconds for which the snapshot may be used, from when it was read.
        witness: This process.
    """
    status, policy = snapshot.status, snapshot.policy
    is_timed = policy.slow_call_seconds > 0
    needs_each = is_timed or policy.has_window
    fresh_until = snapshot.read_at + seconds
    # The token is empty, since only a change of the row can give a trial away. With a chance of 0,
    # no call is refused if only a share of the refusals is enforced.
    admission = machine.admit(status, policy, snapshot.now, "", witness=witness)
    is_alone = conviction.quarantine_of(status, witness.process) is not None
    view: View[L] = View(
        leave=leave(admission.permit or Permit(status.generation)),
        snapshot=snapshot,
        fresh_until=fresh_until,
        plain_until=NEVER if needs_each or is_alone or snapshot.is_counting else fresh_until,
        is_counting=snapshot.is_counting or is_alone,
        needs_each=needs_each,
        injection=injected(snapshot),
    )
    if admission.status is not status:
        return view  # time has changed the circuit, or the call would be a trial
    if admission.permit is None:
        retry_at = snapshot.read_at + (admission.retry_after or 0.0)
        return replace(
            view,
            retry_at=retry_at,
            refuses_until=min(fresh_until, retry_at),
            is_alone=admission.is_alone,
        )
    if admission.retry_after is not None or view.injection or _weighs_each(snapshot):
        return view
    if is_timed:
        return replace(view, times_until=fresh_until)
    return replace(view, passes_until=fresh_until)


def _weighs_each(snapshot: Snapshot) -> bool:
    """Return whether a call may be refused while its neighbour passes."""
    status, policy = snapshot.status, snapshot.policy
    return policy.max_concurrent > 0 or machine.passing_share(status, policy, snapshot.now) < 1


def injected(snapshot: Snapshot) -> Injection | None:
    """Return the faults to inject into calls, if the settings allow any."""
    if not conf.get().allow_injection:
        return None
    return under_way(snapshot.status.injection, snapshot.now)
