"""The throttle strategy: the share of calls to refuse while a remote fails in part.

A circuit that opens refuses all calls, also those that a remote with one shard of four down would
have answered. A throttled circuit stays closed, and refuses each call with a probability of

    ``(bad - limit * calls) / ((1 - limit) * (calls + 1))``

where ``bad`` of the ``calls`` in the window failed, and ``limit`` is the policy's ``failure_rate``.
It is 0 up to the limit, grows evenly above it, is at most ``max_throttle``, and returns to 0 by
itself, since the calls that pass tell how the remote fares. There are no trials.

With ``K = 1 / (1 - limit)`` and ``accepts = calls - bad``, the formula is that of the client-side
throttling in Beyer et al., *Site Reliability Engineering* (2016), chapter 21, "Handling Overload":
``(requests - K * accepts) / (requests + 1)``. The default limit of 0.5 makes the ``K`` of 2 that is
given there. Here only calls that were made count. If refused calls counted too, as in the book, the
share would grow to its maximum as soon as more than half of the calls fail, and little would be
left of what a remote that is down in part still answers.
"""

from __future__ import annotations

from . import windows
from .policy import Policy, Strategy
from .windows import Window


def share_of(window: Window, policy: Policy, now: float) -> float:
    """Return the share of calls to refuse, from 0 to ``max_throttle``; 0 by another strategy."""
    if policy.strategy is not Strategy.THROTTLE:
        return 0.0
    counts = windows.totals(windows.current(window, policy, now))
    return asked_by(policy, *counts) if counts.calls >= windows.least_calls(policy) else 0.0


def asked_by(policy: Policy, calls: float, failures: float, slow: float = 0.0) -> float:
    """Return the share of calls to refuse that the calls of a window ask for.

    >>> asked_by(Policy(failure_rate=0.5), calls=99, failures=80)
    0.61
    """
    share = _above(policy.failure_rate, failures, calls)
    if policy.slow_call_seconds:
        share = max(share, _above(policy.slow_call_rate, slow, calls))
    return min(share, policy.max_throttle)


def _above(limit: float, bad: float, calls: float) -> float:
    if bad <= limit * calls:  # a limit of 1 is never passed
        return 0.0
    return (bad - limit * calls) / ((1 - limit) * (calls + 1))
