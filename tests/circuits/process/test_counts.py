"""What a process counts for metrics: each call once, and nothing unless somebody reads it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from pytest_django import Settings

import circuits
from circuits.models import Transition
from circuits.process import counts, runtime
from circuits.process.counts import BOUNDS, OTHERS, Counts
from circuits.process.observers import CallOutcome
from tests.concurrency import in_processes, in_threads, switching_often

SUCCESS, FAILURE, IGNORED, REFUSED = CallOutcome


@pytest.fixture
def _kept() -> Iterator[None]:
    counts.forget()
    counts.keep("test")
    yield
    counts.drop("test")
    counts.forget()


def numbers(name: str) -> dict[CallOutcome, int]:
    """Return the counted calls through a circuit, by outcome."""
    [found] = [each for each in counts.read() if each.name == name]
    return {outcome: sum(ended.calls) for outcome, ended in found.ended.items()}


def test_a_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed() -> None:
    one = Counts("payments")
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] + 1e-9, BOUNDS[-1], BOUNDS[-1] + 1):
        one.add(SUCCESS, seconds)
    ended = one.read().ended[SUCCESS]
    filled = {index: calls for index, calls in enumerate(ended.calls) if calls}
    assert filled == {0: 2, 1: 1, len(BOUNDS) - 1: 1, len(BOUNDS): 1}
    assert ended.seconds[0] == BOUNDS[0]
    assert ended.seconds[-1] == BOUNDS[-1] + 1


def test_reading_changes_nothing() -> None:
    one = Counts("payments")
    one.add(FAILURE, 0.3)
    assert one.read() == one.read() == one.read()
    one.add(FAILURE, 0.3)
    assert sum(one.read().ended[FAILURE].calls) == 2


def test_threads_lose_nothing_while_others_read() -> None:
    one = Counts("payments")

    def work(index: int) -> None:
        for _ in range(2_000):
            one.add(SUCCESS, 0.3)
        if index == 0:
            one.read()

    with switching_often():
        in_threads(4, work)
    assert sum(one.read().ended[SUCCESS].calls) == 8_000


@pytest.mark.usefixtures("_kept")
def test_beyond_the_limit_all_circuits_are_counted_as_one(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "METRICS_CIRCUITS": 2}
    found = [counts.of(name) for name in ("one", "two", "three", "four", "one")]
    assert [each.name for each in found if each] == ["one", "two", OTHERS, OTHERS, "one"]
    assert found[2] is found[3]


def test_nothing_is_counted_unless_somebody_reads_it() -> None:
    assert counts.of("payments") is None
    counts.keep("test")
    assert counts.of("payments") is not None
    for _ in range(2):
        counts.drop("test")
        assert counts.of("payments") is None
    counts.forget()


@pytest.mark.usefixtures("committed", "_kept")
def test_a_flush_hands_over(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[int] = []

    def take() -> None:
        heard.append(numbers("payments")[SUCCESS])

    def broken() -> None:
        raise OSError("the disk is full")

    counts.take_by(broken)
    counts.take_by(take)
    try:
        with circuits.guard("payments"):
            pass
        runtime.flush()
    finally:
        counts.take_no_more(broken)
        counts.take_no_more(take)
    assert heard == [1]
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "Could not hand over the counts of calls; they are kept."


@pytest.mark.usefixtures("_kept")
def test_each_change_of_state_is_counted_and_handed_over_at_once() -> None:
    changes = [("closed", "open"), ("open", "half_open"), ("closed", "open"), ("open", "open")]
    handed_over: list[int] = []

    def take() -> None:
        handed_over.append(1)

    counts.take_by(take)
    counts.take_by(take)
    for before, after in changes:
        transition = Transition(from_state=before, to_state=after)
        counts.count_transition(name="payments", transition=transition)
    counts.take_no_more(take)
    counts.hand_over()
    [found] = counts.read()
    assert found.transitions == {("closed", "open"): 2, ("open", "half_open"): 1}
    assert len(handed_over) == 3, "a change of the mode alone is none"


@pytest.mark.usefixtures("committed")
def test_a_forked_child_counts_from_zero() -> None:
    assert in_processes(1, "count_in_child", name="payments") == [[3, 2]]
