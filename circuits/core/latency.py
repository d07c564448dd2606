"""Counts durations of calls in fixed buckets, which add up over processes and minutes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

#: The upper bound of each bucket, in seconds. One more bucket holds longer durations.
BOUNDS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)

#: The number of calls in each bucket.
Histogram = tuple[int, ...]

EMPTY: Final[Histogram] = (0,) * (len(BOUNDS) + 1)

TYPICAL: Final = 0.5
SLOW: Final = 0.95


def histogram(durations: Iterable[float]) -> Histogram:
    """Return how many of the durations, in seconds, fall into each bucket."""
    counts = list(EMPTY)
    for seconds in durations:
        counts[bisect_left(BOUNDS, seconds)] += 1
    return tuple(counts)


def added(*histograms: Sequence[int]) -> Histogram:
    """Return the sum of histograms."""
    return tuple(map(sum, zip(EMPTY, *histograms, strict=True)))


def quantile(counts: Sequence[int], share: float) -> float | None:
    """Return the seconds within which a share of the calls ended; None if there are no calls.

    The calls in a bucket are assumed to be spread evenly, as in Prometheus's
    ``histogram_quantile``. The last bucket has only a lower bound, which is returned for it.
    """
    rank = share * sum(counts)
    if not rank:
        return None
    below, lower = 0, 0.0
    for count, upper in zip(counts[:-1], BOUNDS, strict=True):
        if count and below + count >= rank:
            return lower + (upper - lower) * (rank - below) / count
        below, lower = below + count, upper
    return lower
