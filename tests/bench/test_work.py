"""The work of all contenders, and the proof that it was done."""

from __future__ import annotations

import pytest

from bench.measure import BrokenContenderError
from bench.work import Expecting, RemoteDownError, Tally, Work, forbidden


def test_a_tally_counts_and_its_reading_does_not() -> None:
    tally = Tally()
    assert tally.total() == 0
    for _ in range(3):
        tally.tick()
    assert tally.total() == tally.total() == 3
    tally.tick()
    assert tally.total() == 4


async def test_work_is_counted_however_it_ends() -> None:
    work = Work()
    work.succeed()
    await work.asucceed()
    with pytest.raises(RemoteDownError):
        work.fail()
    assert work.done() == 3


def test_an_expected_error_is_counted() -> None:
    expecting = Expecting(Work().fail, RemoteDownError)
    expecting.attempt()
    expecting.attempt()
    assert expecting.done() == 2


def test_a_call_that_should_have_raised_is_an_error() -> None:
    expecting = Expecting(Work().succeed, RemoteDownError)
    with pytest.raises(BrokenContenderError, match="without RemoteDownError"):
        expecting.attempt()


def test_another_error_is_not_taken_for_it() -> None:
    with pytest.raises(BrokenContenderError, match="let a call through"):
        Expecting(forbidden, RemoteDownError).attempt()
