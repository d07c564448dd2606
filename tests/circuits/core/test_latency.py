"""Durations in buckets: how they add up, and the quantiles that are read from them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.core.latency import BOUNDS, EMPTY, added, histogram, quantile

durations = st.lists(st.floats(0, 19.9), min_size=1, max_size=200)


def bucket(seconds: float) -> tuple[float, float]:
    """Return the bounds of the bucket that a duration is in."""
    upper = next(bound for bound in BOUNDS if seconds <= bound)
    index = BOUNDS.index(upper)
    return (BOUNDS[index - 1] if index else 0.0), upper


def test_each_duration_is_in_one_bucket() -> None:
    counts = histogram([0.0, 0.01, 0.011, 3.0, 20.0, 60.0])
    assert sum(counts) == 6
    assert (counts[0], counts[1], counts[8], counts[10], counts[11]) == (2, 1, 1, 1, 1)


@given(durations, durations)
def test_histograms_add_up_to_that_of_all(some: list[float], others: list[float]) -> None:
    assert added(histogram(some), histogram(others)) == histogram(some + others)


def test_no_histogram_of_other_buckets_is_added() -> None:
    with pytest.raises(ValueError, match="shorter"):
        added(EMPTY, EMPTY[1:])
    with pytest.raises(ValueError, match="longer"):
        quantile((0, 0, 7), 0.5)


@given(durations, st.sampled_from([0.5, 0.95]))
def test_a_quantile_is_in_the_bucket_of_the_true_one(taken: list[float], share: float) -> None:
    found = quantile(histogram(taken), share)
    true = sorted(taken)[max(0, ceil(share * len(taken) - 1e-9) - 1)]
    lower, upper = bucket(true)
    assert found is not None
    assert lower <= found <= upper


def test_calls_are_spread_evenly_in_their_bucket() -> None:
    assert quantile(histogram([0.03] * 10), 0.5) == pytest.approx(0.035)
    assert quantile(histogram([0.015] * 9 + [7.0]), 0.95) == pytest.approx(7.5)
    assert quantile(histogram([0.004] * 10), 0.5) == pytest.approx(0.005)
    assert quantile(histogram([0.03] * 5 + [9.0] * 5), 0.5) == pytest.approx(0.05)


@pytest.mark.parametrize(("counts", "found"), [(EMPTY, None), (histogram([90.0] * 3), 20.0)])
def test_what_is_not_known_is_not_guessed(counts: Sequence[int], found: float | None) -> None:
    assert quantile(counts, 0.5) == found
