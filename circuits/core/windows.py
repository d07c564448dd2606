"""The sliding windows of the strategies rate and throttle: pure functions over a frozen value.

A window covers the last ``window_seconds``, kept in ten buckets, or the last ``window_calls``,
kept as one letter per call. Processes gather outcomes and merge them in batches, successes and
failures together, so that neither runs ahead of the other.

The error is bounded. In a window of time, a call is dated by its merge, so it may count up to
``FLUSH_SECONDS`` too long, and it goes with its bucket, up to a tenth of the window too early.
In a window of calls, the batches of different processes lie in the order of their merges.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from .policy import Policy

#: The number of buckets in a window of time.
BUCKETS: Final = 10

#: Microseconds in a second.
MICROS: Final = 1_000_000


class Outcome(StrEnum):
    """The outcome of one call, as a window stores it."""

    GOOD = "."
    FAILED = "f"
    SLOW = "s"


class Bucket(NamedTuple):
    """The calls merged in one part of the window, which begins at ``start``."""

    start: float
    calls: int
    failures: int
    slow: int


class Counts(NamedTuple):
    """How many calls there were, and how many of them failed or were slow."""

    calls: int = 0
    failures: int = 0
    slow: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """The outcomes that count for the strategies rate and throttle.

    Args:
        buckets: The buckets of a window of time, oldest first.
        recent: The outcomes of a window of calls, one letter each, oldest first.
    """

    buckets: tuple[Bucket, ...] = ()
    recent: str = ""


EMPTY: Final = Window()


def counted(outcomes: Iterable[str]) -> Counts:
    """Return the counts of a sequence of outcomes."""
    row = "".join(outcomes)
    return Counts(len(row), row.count(Outcome.FAILED), row.count(Outcome.SLOW))


def merged(window: Window, policy: Policy, now: float, batch: Counts, recent: str) -> Window:
    """Return the window with a batch of outcomes added and the outdated ones dropped.

    Args:
        batch: The counts of the outcomes gathered, for a window of time.
        recent: The latest outcomes, oldest first, one letter each, for a window of calls.
    """
    if policy.window_calls:
        return Window(recent=(window.recent + recent)[-policy.window_calls :])
    return added(window, policy, now, batch)


def added(window: Window, policy: Policy, now: float, batch: Counts) -> Window:
    """Return a window of time with a batch added and the outdated buckets dropped."""
    start = _bucket_start(policy, now)
    kept = _kept(window, policy, start)
    if kept and _micros(kept[-1].start) == start:
        last = kept.pop()
        batch = Counts(
            batch.calls + last.calls, batch.failures + last.failures, batch.slow + last.slow
        )
    return replace(window, buckets=(*kept, Bucket(start / MICROS, *batch)), recent="")


def current(window: Window, policy: Policy, now: float) -> Window:
    """Return the window without its outdated buckets. The calls of a window of calls never are."""
    kept = _kept(window, policy, _bucket_start(policy, now))
    return window if len(kept) == len(window.buckets) else replace(window, buckets=tuple(kept))


def _kept(window: Window, policy: Policy, start: int) -> list[Bucket]:
    """Return the buckets that still count while the one that begins at ``start`` is filled."""
    length = BUCKETS * _bucket_width(policy)
    return [bucket for bucket in window.buckets if 0 <= start - _micros(bucket.start) < length]


def _bucket_start(policy: Policy, now: float) -> int:
    """Return when the present bucket began, in microseconds."""
    width = _bucket_width(policy)
    return _micros(now) // width * width


def _bucket_width(policy: Policy) -> int:
    return _micros(policy.window_seconds) // BUCKETS


def _micros(seconds: float) -> int:
    """Return a time in whole microseconds, as databases keep it, to avoid rounding errors."""
    return round(seconds * MICROS)


def totals(window: Window) -> Counts:
    """Return the counts of all outcomes in the window."""
    if window.recent:
        return counted(window.recent)
    return Counts(
        sum(b.calls for b in window.buckets),
        sum(b.failures for b in window.buckets),
        sum(b.slow for b in window.buckets),
    )


def least_calls(policy: Policy) -> int:
    """Return the number of calls a window must hold before its rate counts."""
    # A window that cannot hold the minimum counts when it is full.
    return min(policy.minimum_calls, policy.window_calls or policy.minimum_calls)


def too_many_failures(counts: Counts, policy: Policy) -> bool:
    """Return whether the share of failed calls has reached ``failure_rate``."""
    return _reached(counts.failures, counts.calls, policy.failure_rate, policy)


def too_many_slow(counts: Counts, policy: Policy) -> bool:
    """Return whether the share of slow calls has reached ``slow_call_rate``."""
    enabled = policy.slow_call_seconds > 0
    return enabled and _reached(counts.slow, counts.calls, policy.slow_call_rate, policy)


def evidence(counts: Counts, policy: Policy) -> str:
    """Return which share has reached its limit, as a line for the history; "" if none has.

    >>> evidence(Counts(calls=61, failures=26, slow=0), Policy(failure_rate=0.3))
    '42.6 % of 61 calls failed, limit 30 %'
    """
    if too_many_failures(counts, policy):
        return _told(counts.failures, counts.calls, "failed", policy.failure_rate)
    if too_many_slow(counts, policy):
        return _told(counts.slow, counts.calls, "were slow", policy.slow_call_rate)
    return ""


def _told(part: int, calls: int, what: str, rate: float) -> str:
    return f"{100 * part / calls:.3g} % of {calls} calls {what}, limit {100 * rate:.3g} %"


def _reached(part: int, calls: int, rate: float, policy: Policy) -> bool:
    # Divided rather than multiplied: 7 / 100 is exactly the float 0.07, but 0.07 * 100 is more
    # than 7.
    return calls >= least_calls(policy) and part > 0 and part / calls >= rate
