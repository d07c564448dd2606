"""The calls under way that the pulse looks after until they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from ..core.status import Permit
from ..storage.contract import Snapshot

FOREVER: Final = float("inf")

#: The least number of seconds between two looks at the calls.
PAUSE: Final = 0.05


class Watched(Protocol):
    """A call that is looked at while it is under way."""

    #: When it is to be looked at next, on the monotonic clock.
    look_at: float


#: The share of its lease after which a trial renews it. The rest leaves room for delays.
LEASE_SHARE: Final = 1 / 3

#: The leases after which a trial gives up its place, so that one without end wedges no circuit.
MOST_LEASES: Final = 10


class Call(Watched, Protocol):
    """What says when a call is to be looked at.

    Attributes:
        started_at: When it began, on the monotonic clock.
        paused_at: Since when its caller has been busy with something else; 0 if it is not.
        is_counted: Whether it was counted when it was overdue.
    """

    permit: Permit
    started_at: float
    paused_at: float
    is_counted: bool


W = TypeVar("W", bound=Watched)


class Underway(Generic[W]):
    """A set of calls, each with the time at which it has to be looked at next.

    The code that takes a call out of the set reports its outcome, so that it is reported once. No
    step needs a lock, since the interpreter interrupts none of them.

    Args:
        look_by: Called with the time by which the calls must be looked at.
    """

    def __init__(self, look_by: Callable[[float], object] = lambda at: None) -> None:
        self._look_by = look_by
        self.forget()

    def forget(self) -> None:
        """Forget all calls in a forked child, since the parent reports them."""
        self._calls: dict[W, None] = {}

    def add(self, call: W, at: float) -> None:
        """Add a call that has to be looked at by the time ``at``."""
        self._calls[call] = None
        self.look(call, at)

    def look(self, call: W, at: float) -> None:
        """Have a call looked at by the time ``at``."""
        call.look_at = at
        self._look_by(at)

    def take(self, call: W) -> bool:
        """Take a call out; return whether it was still there."""
        return self._calls.pop(call, self) is None

    def due(self, now: float) -> list[W]:
        """Return the calls that have to be looked at by ``now``."""
        return [call for call in list(self._calls) if call.look_at <= now]

    def next_look(self) -> float:
        """Return when the next call has to be looked at; infinity if none has to."""
        return min((call.look_at for call in list(self._calls)), default=FOREVER)


def next_look(call: Call, snapshot: Snapshot | None, now: float) -> float:
    """Return when the pulse is to look at a call next; infinity for never.

    Args:
        snapshot: The store's last answer about the call's circuit.
        now: The present moment on the monotonic clock.
    """
    if snapshot is None or call.is_counted:
        return FOREVER
    policy, at = snapshot.policy, FOREVER
    if policy.slow_call_seconds and not call.paused_at:
        at = max(call.started_at + policy.slow_call_seconds, now + PAUSE)
    if keeps_lease(call, snapshot, now):
        at = min(at, now + policy.lease_seconds * LEASE_SHARE)
    return at


def keeps_lease(call: Call, snapshot: Snapshot | None, now: float) -> bool:
    """Return whether a call is a trial of the present generation that keeps its place."""
    if snapshot is None or call.permit.lease is None or not snapshot.is_current(call.permit):
        return False
    return now - call.started_at < MOST_LEASES * snapshot.policy.lease_seconds
