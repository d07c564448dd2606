"""Forecasts what a policy would do with a circuit's traffic: pure functions, in calls and seconds.

The model is simple: calls come at random at an even rate (a Poisson process), and each fails
independently with the same probability. Then

- the calls until ``threshold`` failures in a row are the waiting time for a run, which is exact:
  Feller, *An Introduction to Probability Theory and Its Applications*, vol. 1, 3rd ed. (1968),
  XIII.7, eq. (7.7);
- the calls until a window holds too many failures go by the binomial tail: exactly while the window
  fills, and then by Naus, "Approximations for Distributions of Scan Statistics", *Journal of the
  American Statistical Association* 77 (1982), 177-183, theorem 1 and section 3;
- where no call has failed, the true share is, with 95 % confidence, at most three divided by the
  number of calls: Hanley and Lippman-Hand, "If Nothing Goes Wrong, Is Everything All Right?",
  *JAMA* 249 (1983), 1743-1745.

The tests compare each with a simulation of the real machine. Runs, outages, hanging calls, trials
and recoveries are within 10 %; openings by chance are within a factor of 1.2 for a window of calls
and of 1.5 for a window of time. Real failures come in bursts, which open a circuit more often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from math import ceil, exp, floor, inf, lgamma, log, log1p, log10, sqrt
from typing import Any, Final

from .machine import MOST_GROWTHS, grown_delay
from .policy import POLICY_LIMITS, Policy, Strategy
from .windows import BUCKETS, least_calls

#: For a window of more calls, the chance is computed for this many, which is an upper bound.
MOST_CALLS: Final = 20_000

#: Up to this many calls in a window, chance is computed in full: call by call while the window
#: fills, and for each number of calls that a time window may hold. Beyond, little changes.
CLOSE_CALLS: Final = 1_000

#: The natural logarithm of a negligible chance: once in 10 ** 34 calls.
NEVER: Final = -80.0

#: The probability below which a number of failures is left out.
NEGLIGIBLE: Final = 1e-18

#: How many standard deviations on either side of the mean are followed, each in so many parts.
SPREADS: Final = 5
PARTS: Final = 6

#: The digits after the point that are kept of a number, to leave out errors of rounding.
DIGITS: Final = 6

#: The numerator of the rule of three.
RULE_OF_THREE: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The calls of a circuit while nothing is wrong.

    Args:
        calls_per_second: How many calls all processes together make in a second.
        failure_share: The share of calls that fail, from 0 to 1.
        typical_seconds: How long half of the answers take at most; None if that is not known.
        slow_seconds: How long 95 of 100 answers take at most; None if that is not known.
    """

    calls_per_second: float
    failure_share: float = 0.0
    typical_seconds: float | None = None
    slow_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A policy to forecast, and the settings that bound its calls.

    Args:
        timeout: Seconds after which a call that hangs fails.
        settle_seconds: How old the failures of several processes must be to open the circuit.
    """

    policy: Policy
    timeout: float
    settle_seconds: float = 0.0

    @property
    def known_after(self) -> float:
        """Seconds after which a hanging call counts as failed or slow."""
        slow = self.policy.slow_call_seconds
        return min(slow, self.timeout) if slow else self.timeout


@dataclass(frozen=True, slots=True)
class Notice:
    """When an outage opens the circuit: after how many calls, and how many seconds."""

    calls: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What to expect of a policy. Times are in seconds.

    Args:
        outage: When an outage is noticed in which calls fail at once; None if never.
        hang: When an outage is noticed in which calls hang, from the first such call; None if
            never.
        lost_before: Seconds that callers wait in all, in calls made before the circuit opens.
        lost_per_minute: Seconds of each minute that trials wait as the outage begins.
        lost_per_minute_later: The same once the delay has grown to its limit.
        chance: Seconds from one opening by chance to the next, on average.
        chance_of_start: The probability that a window opens by chance while it fills.
        recovery: The most seconds from the recovery of the remote until all calls pass, if no
            trial has failed.
        recovery_later: The same once the delay has grown to its limit.
    """

    outage: Notice | None
    hang: Notice | None
    lost_before: float
    lost_per_minute: float
    lost_per_minute_later: float
    chance: float
    chance_of_start: float
    recovery: float
    recovery_later: float


def forecast(plan: Plan, traffic: Traffic) -> Forecast:
    """Forecast what a policy would do with the traffic::

    forecast(Plan(policy=Policy(threshold=3), timeout=10), Traffic(calls_per_second=2))
    """
    hang = noticed(plan, traffic, known_after=plan.known_after)
    chance = chance_of(plan.policy, traffic)
    return Forecast(
        outage=noticed(plan, traffic),
        hang=hang,
        lost_before=inf if hang is None else hang.calls * plan.timeout,
        lost_per_minute=_lost_in_trials(plan, traffic),
        lost_per_minute_later=_lost_in_trials(plan, traffic, reopened=MOST_GROWTHS),
        chance=chance.calls / traffic.calls_per_second,
        chance_of_start=chance.of_start,
        recovery=_recovery(plan, traffic),
        recovery_later=_recovery(plan, traffic, reopened=MOST_GROWTHS),
    )


# What would be better --------------------------------------------------------------------------

#: Seconds between two openings by chance. Fewer than the first value is too few, and a proposed
#: value has at least the second.
OFTEN: Final = 7 * 86_400.0
SELDOM: Final = 30 * 86_400.0

#: Seconds within which an outage should be noticed.
LATE: Final = 60.0

#: A proposed timeout is this many times as long as a slow answer, and at least the second value.
TIMEOUT_FACTOR: Final = 3.0
LEAST_TIMEOUT: Final = 0.5

#: The thresholds and failure rates that are proposed.
THRESHOLDS: Final = range(2, 101)
RATES: Final = tuple(percent / 100 for percent in range(5, 100, 5))


@dataclass(frozen=True, slots=True)
class Better:
    """A value that would be better than the present one, with the forecast for it.

    Args:
        field: The policy field, or ``timeout``.
        why: What it improves: ``hang``, ``chance`` or ``outage``.
    """

    field: str
    value: float
    why: str
    expected: Forecast


def better(plan: Plan, traffic: Traffic) -> Iterator[Better]:
    """Yield values that would each improve the plan if only that one was changed."""
    expected = forecast(plan, traffic)
    proposals = (
        ("timeout", "hang", _shorter_timeout(plan, traffic)),
        ("threshold", "chance", _higher_threshold(plan, traffic, expected)),
        ("threshold", "outage", _lower_threshold(plan, traffic, expected)),
        ("failure_rate", "chance", _higher_rate(plan, traffic, expected)),
        ("window_seconds", "outage", _longer_window(plan, traffic, expected)),
    )
    for field, why, value in proposals:
        if value is not None:
            yield Better(field, value, why, forecast(with_value(plan, field, value), traffic))


def with_value(plan: Plan, field: str, value: float) -> Plan:
    """Return the plan with another timeout, or another value of a policy field."""
    if field == "timeout":
        return replace(plan, timeout=value)
    changed: Any = {field: value}
    return replace(plan, policy=replace(plan.policy, **changed))


def _shorter_timeout(plan: Plan, traffic: Traffic) -> float | None:
    if traffic.slow_seconds is None:
        return None
    seconds = max(LEAST_TIMEOUT, _rounded_up(TIMEOUT_FACTOR * traffic.slow_seconds))
    return seconds if seconds <= plan.timeout / 2 else None


def _rounded_up(seconds: float) -> float:
    """Return a length of time rounded up to one digit, such as 0.7, 2 or 30."""
    unit = 10.0 ** floor(log10(seconds)) if seconds > 0 else 1.0
    return ceil(round(seconds / unit, DIGITS)) * unit


def _seldom(plan: Plan, traffic: Traffic, field: str, value: float) -> bool:
    chance = chance_of(with_value(plan, field, value).policy, traffic)
    return chance.calls / traffic.calls_per_second >= SELDOM


def _higher_threshold(plan: Plan, traffic: Traffic, expected: Forecast) -> float | None:
    if plan.policy.strategy is not Strategy.CONSECUTIVE or expected.chance >= OFTEN:
        return None
    # A lower threshold opens it more often, so the first one that is high enough is higher.
    return next((n for n in THRESHOLDS if _seldom(plan, traffic, "threshold", n)), None)


def _lower_threshold(plan: Plan, traffic: Traffic, expected: Forecast) -> float | None:
    is_late = expected.outage is not None and expected.outage.seconds > LATE
    if plan.policy.strategy is not Strategy.CONSECUTIVE or not is_late:
        return None
    lower = (n for n in THRESHOLDS if n <= plan.policy.threshold / 2)
    return next((n for n in lower if _seldom(plan, traffic, "threshold", n)), None)


def _higher_rate(plan: Plan, traffic: Traffic, expected: Forecast) -> float | None:
    if plan.policy.strategy is not Strategy.RATE or expected.chance >= OFTEN:
        return None
    higher = (rate for rate in RATES if rate > plan.policy.failure_rate)
    return next((rate for rate in higher if _seldom(plan, traffic, "failure_rate", rate)), None)


def _longer_window(plan: Plan, traffic: Traffic, expected: Forecast) -> float | None:
    """Return a window for twice the minimum of calls, if the present one holds too few."""
    if plan.policy.strategy is not Strategy.RATE or expected.outage is not None:
        return None
    seconds = _rounded_up(2 * plan.policy.minimum_calls / traffic.calls_per_second)
    return seconds if seconds <= POLICY_LIMITS["window_seconds"].most else None


# An outage -------------------------------------------------------------------------------------


def noticed(plan: Plan, traffic: Traffic, known_after: float = 0.0) -> Notice | None:
    """Return when an outage in which every call fails is noticed; None if never.

    Args:
        known_after: Seconds that a call takes until it is known to have failed.
    """
    failures = _failures_to_open(plan.policy, traffic, known_after)
    if failures is None:
        return None
    # Failures of one process count at once, those of several once they are old enough.
    seconds = max(failures / traffic.calls_per_second, plan.settle_seconds) + known_after
    return Notice(seconds * traffic.calls_per_second, seconds)


def _failures_to_open(policy: Policy, traffic: Traffic, known_after: float) -> float | None:
    """Return how many failures in a row open the circuit; None if no number does."""
    if policy.strategy is Strategy.CONSECUTIVE:
        return policy.threshold
    calls = window_of(policy, traffic)
    if calls < least_calls(policy):
        return None
    # The calls of the window before the outage. Some have left it while no call had an answer.
    left = calls if policy.window_calls else calls - traffic.calls_per_second * known_after
    share = min(traffic.failure_share, policy.failure_rate)
    missing = (policy.failure_rate - share) / (1 - share) if share < 1 else 0.0
    if left < least_calls(policy):
        return max(least_calls(policy), left * missing)
    return max(1.0, left * missing)


def window_of(policy: Policy, traffic: Traffic) -> float:
    """Return how many calls the rate strategy's window holds, on average."""
    if policy.window_calls:
        return policy.window_calls
    # The oldest bucket leaves as a whole, so on average half of a bucket is missing.
    seconds = policy.window_seconds * (1 - 0.5 / BUCKETS)
    return traffic.calls_per_second * seconds


# Hanging calls and recovery --------------------------------------------------------------------


def _lost_in_trials(plan: Plan, traffic: Traffic, reopened: int = 0) -> float:
    """Return the seconds of each minute that trials wait for a remote that hangs."""
    cycle = _mean_delay(plan.policy, reopened) + 1 / traffic.calls_per_second + plan.known_after
    meanwhile = 1 + traffic.calls_per_second * plan.known_after
    trials = min(plan.policy.half_open_max_calls, meanwhile)
    return 60 * trials * plan.timeout / cycle


def _mean_delay(policy: Policy, reopened: int) -> float:
    # The first delay has no jitter.
    return grown_delay(policy, reopened, 0.5) if reopened else policy.delay


def _recovery(plan: Plan, traffic: Traffic, reopened: int = 0) -> float:
    """Return the seconds until all calls pass, if the remote recovers as the circuit opens."""
    policy = plan.policy
    delay = grown_delay(policy, reopened, 0.0) if reopened else policy.delay
    needed = policy.success_threshold
    rounds = ceil(needed / policy.half_open_max_calls)
    trials = needed / traffic.calls_per_second + rounds * (traffic.typical_seconds or 0.0)
    return delay + trials + policy.ramp_up_seconds


# Chance ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chance:
    """How a circuit opens by chance.

    Args:
        calls: The mean number of calls until it opens.
        of_start: The probability that it opens while a window fills.
    """

    calls: float
    of_start: float = 0.0


def chance_of(policy: Policy, traffic: Traffic) -> Chance:
    """Return how often single failures open the circuit although the remote is up."""
    if policy.strategy is Strategy.CONSECUTIVE:
        return Chance(calls_to_run(policy.threshold, traffic.failure_share))
    return calls_to_rate(policy, window_of(policy, traffic), traffic.failure_share)


def calls_to_run(length: int, share: float) -> float:
    """Return the mean number of calls until ``length`` failures in a row (Feller, eq. 7.7)."""
    if share <= 0:
        return inf
    if share >= 1:
        return length
    run = exp(length * log(share))
    return (1 - run) / ((1 - share) * run) if run else inf


def calls_to_rate(policy: Policy, window: float, share: float) -> Chance:
    """Return the mean number of calls until a window, empty at first, holds too many failures.

    Args:
        window: The mean number of calls in a full window.
    """
    window = min(window, MOST_CALLS)
    if share <= 0 or window < least_calls(policy):
        return Chance(inf)
    if share >= 1:
        return Chance(least_calls(policy), 1.0)
    opened, calls, closed, full = _filled(policy, int(window), share)
    if closed <= NEGLIGIBLE:
        return Chance(calls, opened)
    hazard = _hazard(policy, window, share)
    return Chance(calls + closed * (full + 1 / hazard) if hazard else inf, opened)


def _hazard(policy: Policy, window: float, share: float) -> float:
    """Return the probability that the circuit opens at a call, once the window is full."""
    if policy.window_calls or window > CLOSE_CALLS:
        return _hazard_at(policy, int(window), share)
    # The number of calls in a time window varies by chance too, and with few it opens sooner.
    spread = sqrt(window)
    least = max(1, int(window - SPREADS * spread))
    most = int(window + SPREADS * spread) + 1
    numbers = range(least, most + 1, max(1, int(spread / PARTS)))
    weights = {n: exp(n * log(window) - window - lgamma(n + 1)) for n in numbers}
    total = sum(weight * _hazard_at(policy, n, share) for n, weight in weights.items())
    return total / sum(weights.values())


def _hazard_at(policy: Policy, calls: int, share: float) -> float:
    failures = max(1, ceil(policy.failure_rate * calls))
    if calls < least_calls(policy) or _bound(failures, calls, share) < NEVER:
        return 0.0
    return hazard_of(failures, calls, share)


def _bound(failures: int, calls: int, share: float) -> float:
    """Return the logarithm of Chernoff's bound on the probability of ``failures`` failures."""
    part = failures / calls
    if part <= share:
        return 0.0
    passed = (1 - part) * log((1 - part) / (1 - share)) if part < 1 else 0.0
    return -calls * (part * log(part / share) + passed)


def _filled(policy: Policy, window: int, share: float) -> tuple[float, float, float, int]:
    """Follow a window from its first call until it is full.

    Returns:
        The probability that the circuit opens meanwhile; the part of this in the mean number of
        calls; the probability that it stays closed; and the number of calls followed.
    """
    least, last = least_calls(policy), min(window, CLOSE_CALLS)
    closed = {0: 1.0}  # the probability of each number of failures
    opened = calls = 0.0
    for number in range(1, last + 1):
        closed = _after_a_call(closed, share)
        if number >= least:
            most = policy.failure_rate * number
            over = [failures for failures in closed if failures and failures >= most]
            opening = sum(map(closed.pop, over))
            opened += opening
            calls += number * opening
    return opened, calls, sum(closed.values()), last


def _after_a_call(closed: dict[int, float], share: float) -> dict[int, float]:
    after: dict[int, float] = {}
    for failures, probability in closed.items():
        if probability > NEGLIGIBLE:
            after[failures] = after.get(failures, 0.0) + probability * (1 - share)
            after[failures + 1] = after.get(failures + 1, 0.0) + probability * share
    return after


def hazard_of(failures: int, window: int, share: float) -> float:
    """Return the probability at each call that a full window comes to hold ``failures`` failures.

    This is the rate at which the probability of no such window falls from two windows to three.
    Naus gives both exactly. The difference is computed directly, so that small values stay exact.
    """
    if failures > window:
        return 0.0
    if failures == 1:
        return share
    q2, fall = _two_and_three(failures, window, share)
    if fall <= 0 or q2 <= 0:
        return 0.0 if q2 > 0.5 else 1.0
    return -log1p(-min(fall / q2, 1 - 1e-9)) / window


def _two_and_three(k: int, m: int, p: float) -> tuple[float, float]:
    """Return Naus's Q2 and Q2 - Q3 for ``k`` failures in ``m`` calls; the letters are his."""
    b = binomial(m, p)
    f, f1, f2 = (_distribution(binomial(calls, p)) for calls in (m, m - 1, m - 2))

    def drift(r: int) -> float:
        return (r - 1) * f(r - 2) - m * p * f1(r - 3)

    first = max(1, 2 * k - m)
    beta = b[k] * drift(k)
    a2 = (k - 1) * (k - 2) * f(k - 3) - 2 * (k - 2) * m * p * f1(k - 4)
    a2 = 0.5 * b[k] ** 2 * (a2 + m * (m - 1) * p * p * f2(k - 5))
    a3 = sum(b[2 * k - r] * f(r - 1) ** 2 for r in range(first, k))
    a4 = sum(b[2 * k - r] * b[r] * drift(r) for r in range(max(2, first), k))
    below = f(k - 1)
    fall = below**2 * sum(b[k:]) + beta * (2 * below - 1) - a2 - a3 + a4
    return below**2 - beta, fall


def _distribution(probabilities: list[float]) -> Callable[[int], float]:
    """Return the cumulative distribution function of some probabilities."""
    sums = list(accumulate(probabilities))

    def at_most(number: int) -> float:
        return sums[number] if number >= 0 else 0.0

    return at_most


def binomial(calls: int, share: float) -> list[float]:
    """Return the probability of each number of failures among ``calls`` calls."""
    failed, passed, all_ways = log(share), log1p(-share), lgamma(calls + 1)
    return [
        exp(all_ways - lgamma(k + 1) - lgamma(calls - k + 1) + k * failed + (calls - k) * passed)
        for k in range(calls + 1)
    ]
