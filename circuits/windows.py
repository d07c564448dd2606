"""The sliding windows of the rate strategy: pure functions over a frozen value.

A window covers the last ``window_seconds``, kept in ten buckets, or the last ``window_calls``,
kept as one letter a call. Processes gather outcomes and merge them in batches, successes and
failures together, so that neither side runs ahead of the other.

What this can get wrong is bounded. By time, a call is dated by its merge, so it may count up to
``FLUSH_SECONDS`` too long, and it is forgotten with its bucket, up to a tenth of the window early.
By calls, the batches of different processes stand in the order of their merges.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from .machine import Policy

#: Into how many parts a window of time is cut.
BUCKETS: Final = 10

#: The most calls a window of calls can hold.
MOST_CALLS: Final = 1000


class Outcome(StrEnum):
    """How one call went, as a window keeps it."""

    GOOD = "."
    FAILED = "f"
    SLOW = "s"


class Bucket(NamedTuple):
    """The calls merged in one part of the window."""

    start: float
    calls: int
    failures: int
    slow: int


class Counts(NamedTuple):
    """What a window amounts to."""

    calls: int = 0
    failures: int = 0
    slow: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """The outcomes that count for the rate policy.

    Args:
        buckets: By time, the oldest first.
        recent: By calls, a letter each, the oldest first.
    """

    buckets: tuple[Bucket, ...] = ()
    recent: str = ""


EMPTY: Final = Window()


def counted(outcomes: Iterable[str]) -> Counts:
    """Return what a row of outcomes amounts to."""
    row = "".join(outcomes)
    return Counts(len(row), row.count(Outcome.FAILED), row.count(Outcome.SLOW))


def merged(window: Window, policy: Policy, now: float, batch: Counts, recent: str) -> Window:
    """Return the window with a batch of outcomes added and the outdated ones dropped.

    Args:
        batch: The outcomes gathered, for a window of time.
        recent: The last of them in order, a letter each, for a window of calls.
    """
    if policy.window_calls:
        return Window(recent=(window.recent + recent)[-policy.window_calls :])
    width = policy.window_seconds / BUCKETS
    start = now // width * width
    kept = [b for b in window.buckets if start - policy.window_seconds < b.start <= start]
    if kept and kept[-1].start == start:
        last = kept.pop()
        batch = Counts(
            batch.calls + last.calls, batch.failures + last.failures, batch.slow + last.slow
        )
    return replace(window, buckets=(*kept, Bucket(start, *batch)), recent="")


def totals(window: Window) -> Counts:
    """Return what the window amounts to."""
    if window.recent:
        return counted(window.recent)
    return Counts(
        sum(b.calls for b in window.buckets),
        sum(b.failures for b in window.buckets),
        sum(b.slow for b in window.buckets),
    )


def least_calls(policy: Policy) -> int:
    """Return how many calls a rate is taken from at least."""
    # A window of fewer calls than the minimum is full all the same.
    return min(policy.minimum_calls, policy.window_calls or policy.minimum_calls)


def too_many_failures(counts: Counts, policy: Policy) -> bool:
    """Whether the share of failed calls has reached ``failure_rate``."""
    return _reached(counts.failures, counts.calls, policy.failure_rate, policy)


def too_many_slow(counts: Counts, policy: Policy) -> bool:
    """Whether the share of slow calls has reached ``slow_call_rate``."""
    enabled = policy.slow_call_seconds > 0
    return enabled and _reached(counts.slow, counts.calls, policy.slow_call_rate, policy)


def _reached(part: int, calls: int, rate: float, policy: Policy) -> bool:
    return calls >= least_calls(policy) and part > 0 and part >= rate * calls
