"""The retries of one circuit in one process, and the calls since it first asked for one."""

from __future__ import annotations

from ..core import budget, windows
from ..core.budget import NOTHING, Spending
from ..core.policy import Policy


class Retries:
    """What a process has spent of a circuit's budget. The caller holds a lock.

    Times are on the monotonic clock. Calls are dated when they are heard of: when a retry is asked
    for, or at a flush.

    Args:
        ended: The number of calls that ended before.
    """

    def __init__(self, ended: int) -> None:
        self._ended = ended
        self._own = windows.EMPTY
        # What was not flushed yet.
        self._pending = NOTHING

    def ask(self, ended: int, fleet: Spending, policy: Policy, now: float) -> bool:
        """Grant a retry, and count it, if the budget has one left.

        Args:
            ended: The number of calls that have ended so far.
            fleet: The recent calls and retries of all processes, as far as flushed.
        """
        own = self._hear(ended, policy, now)
        if not budget.may_retry(policy, fleet.plus(self._pending), own):
            return False
        self._add(Spending(retries=1), policy, now)
        return True

    def take(self, ended: int, policy: Policy, now: float) -> Spending | None:
        """Take the calls and retries since the last take; None if there are none."""
        self._hear(ended, policy, now)
        taken, self._pending = self._pending, NOTHING
        return taken if any(taken) else None

    def give_back(self, taken: Spending) -> None:
        """Keep what could not be flushed for the next time, as long as the window holds it."""
        self._pending = self._pending.plus(taken)

    def holds_any(self) -> bool:
        """Return whether there are retries to flush. Calls are held by the tallies."""
        return self._pending.retries > 0

    def _hear(self, ended: int, policy: Policy, now: float) -> Spending:
        """Count the calls that have ended since the last time; return what the window holds."""
        self._add(Spending(calls=ended - self._ended), policy, now)
        self._ended = ended
        own = budget.recent(self._own, policy, now)
        self._pending = self._pending.at_most(own)  # the rest is outdated by now
        return own

    def _add(self, new: Spending, policy: Policy, now: float) -> None:
        self._own = budget.merged(self._own, policy, now, new)
        self._pending = self._pending.plus(new)
