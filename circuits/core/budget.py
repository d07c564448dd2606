"""The budget of retries that a fleet shares: pure functions over its recent calls and retries.

When a remote fails, clients that retry each call three times send it four times the load. A budget
bounds that: retries may be ``retry_share`` of the calls of the last ``window_seconds``, plus a few.

Each process decides by what the fleet has flushed and what itself has not flushed yet. What the
others have not flushed it cannot know, so its own retries must fit into its own calls as well.
Together the processes therefore exceed the fleet's budget by :data:`FLOOR` for each process at
most, and only until they have heard of each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from . import windows
from .windows import Counts, Window

if TYPE_CHECKING:
    from .policy import Policy

#: The retries that a window always allows, since a share of few calls is none. Finagle allows 10 a
#: second for each client by default, Envoy 3 at once for each proxy; this is for a whole fleet.
FLOOR: Final = 10

#: Digits to which a share of calls is rounded, since 0.29 * 100 is less than 29.
DIGITS: Final = 6


class Spending(NamedTuple):
    """How many calls have ended, and how many retries were granted. A retry is a call as well."""

    calls: int = 0
    retries: int = 0

    def plus(self, other: Spending) -> Spending:
        """Return both together."""
        return Spending(self.calls + other.calls, self.retries + other.retries)

    def at_most(self, other: Spending) -> Spending:
        """Return the lesser number of each."""
        return Spending(min(self.calls, other.calls), min(self.retries, other.retries))


NOTHING: Final = Spending()


def allowed(calls: int, policy: Policy) -> int:
    """Return how many retries a window with that many calls allows.

    >>> from .policy import Policy
    >>> allowed(100, Policy(retry_share=0.2))
    30
    """
    return FLOOR + int(round(policy.retry_share * calls, DIGITS))


def may_retry(policy: Policy, *spendings: Spending) -> bool:
    """Return whether one more retry fits into each of the budgets, given what was spent of it."""
    return all(each.retries < allowed(each.calls, policy) for each in spendings)


def merged(window: Window, policy: Policy, now: float, new: Spending) -> Window:
    """Return a window with calls and retries added, and the outdated ones dropped."""
    counts = Counts(new.calls, new.retries)
    return windows.added(window, policy, now, counts)


def recent(window: Window, policy: Policy, now: float) -> Spending:
    """Return the calls and retries of the last ``window_seconds``."""
    counts = windows.totals(windows.current(window, policy, now))
    return Spending(counts.calls, counts.failures)
