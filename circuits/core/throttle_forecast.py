"""Forecasts what the throttle strategy would do with a circuit's traffic: pure functions.

The traffic is taken as a fluid: calls come at an even rate, and the same share of them always
fails. The window is followed in small steps, each of which refuses the share of calls that
:mod:`circuits.core.throttle` asks for at that moment. What chance alone brings about is computed
from the distribution of failures in a window. The tests compare both with the real machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Final

from .forecast import DIGITS, MOST_CALLS, Plan, Traffic, binomial, window_of
from .policy import Policy
from .throttle import asked_by
from .windows import least_calls

#: The number of steps in which a window of time is followed.
STEPS: Final = 200

#: The most windows that are followed until the share has settled.
WINDOWS: Final = 20

#: So many calls that one more changes nothing.
MANY: Final = 1e9

#: The part of the largest share at which it counts as reached, which it only approaches.
NEARLY: Final = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """How an outage goes in which each call fails. Times are in seconds.

    Args:
        begins: How long it lasts until the first calls are refused.
        most: How long it lasts until about as many calls as possible are refused.
        recovery: How long after its end more calls are refused than usual, at most.
    """

    begins: float
    most: float
    recovery: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttling:
    """What to expect of a policy that throttles.

    Args:
        outage: How an outage goes; None if the window never holds enough calls to notice it.
        lost_per_minute: Seconds of each minute for which the calls that pass wait once as many as
            possible are refused, if they hang until their timeout.
        by_chance: The share of calls refused while nothing is wrong.
    """

    outage: Outage | None
    lost_per_minute: float
    by_chance: float


def throttling(plan: Plan, traffic: Traffic) -> Throttling:
    """Forecast what a policy that throttles would do with the traffic."""
    policy = plan.policy
    passing = traffic.calls_per_second * (1 - policy.max_throttle)
    return Throttling(
        outage=_outage(policy, traffic),
        lost_per_minute=60 * passing * plan.timeout,
        by_chance=_by_chance(policy, traffic),
    )


def _outage(policy: Policy, traffic: Traffic) -> Outage | None:
    if window_of(policy, traffic) < least_calls(policy):
        return None
    window = _Fluid(policy, traffic)
    begins = window.fail_until(1.0, lambda share: share > 0)
    more = window.fail_until(1.0, lambda share: share >= NEARLY * policy.max_throttle)
    lasting = deepcopy(window)
    lasting.fill(1.0)
    usual = asked_by(policy, MANY, MANY * traffic.failure_share)
    recoveries = (
        each.fail_until(traffic.failure_share, lambda share: share <= usual)
        for each in (window, lasting)
    )
    return Outage(begins=begins, most=begins + more, recovery=max(recoveries))


class _Fluid:
    """The calls of a window in small parts, the oldest first."""

    def __init__(self, policy: Policy, traffic: Traffic) -> None:
        self._policy = policy
        self._rate = traffic.calls_per_second
        calls = window_of(policy, traffic)
        number = policy.window_calls or STEPS
        part = calls / number
        self._parts = deque([(part, part * traffic.failure_share)] * number)
        self._calls, self._failures = calls, calls * traffic.failure_share
        self._seconds = calls / self._rate / number

    def fail_until(self, share: float, is_reached: Callable[[float], bool]) -> float:
        """Let a share of calls fail until the share of refused calls is as wanted.

        Returns:
            The seconds that this takes.
        """
        seconds = 0.0
        for _ in range(WINDOWS * len(self._parts)):
            if is_reached(self._refused()):
                break
            seconds += self._step(share)
        return seconds

    def fill(self, share: float) -> None:
        """Let a share of calls fail until no older call is in the window."""
        for _ in range(len(self._parts)):
            self._step(share)

    def _step(self, share: float) -> float:
        """Let a share of the next calls fail; return how many seconds they take to come."""
        passes = 1 - self._refused()
        if self._policy.window_calls:  # a part is one call, which comes later if others are refused
            calls, seconds = 1.0, self._seconds / passes
        else:
            calls, seconds = self._rate * self._seconds * passes, self._seconds
        self._add(calls, calls * share)
        return seconds

    def _add(self, calls: float, failures: float) -> None:
        """Add a part to the window, and drop the oldest one."""
        old_calls, old_failures = self._parts.popleft()
        self._parts.append((calls, failures))
        self._calls += calls - old_calls
        self._failures += failures - old_failures

    def _refused(self) -> float:
        if round(self._calls, DIGITS) < least_calls(self._policy):
            return 0.0
        return asked_by(self._policy, self._calls, self._failures)


def _by_chance(policy: Policy, traffic: Traffic) -> float:
    """Return the mean share of calls that are refused because of single failures."""
    calls = int(min(window_of(policy, traffic), MOST_CALLS))
    if calls < least_calls(policy) or traffic.failure_share <= 0:
        return 0.0
    if traffic.failure_share >= 1:
        return asked_by(policy, calls, calls)
    return sum(
        probability * asked_by(policy, calls, failures)
        for failures, probability in enumerate(binomial(calls, traffic.failure_share))
    )
