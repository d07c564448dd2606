"""The check reports regressions, and nothing else as a regression."""

from __future__ import annotations

from bench.check import Regression, lasting, missed, regressions

from .samples import report


def worse(name: str, before: float, now: float) -> Regression:
    return Regression(name=name, before=before, now=now)


def test_a_ratio_that_is_worse_is_named() -> None:
    [found] = regressions(report(protect=0.6), report(protect=0.4))
    assert str(found) == "hot: protect / a peer was 0.4 and is 0.6."


def test_a_little_worse_or_better_is_no_regression() -> None:
    assert not list(regressions(report(protect=0.5), report(protect=0.4)))
    assert not list(regressions(report(protect=0.1), report(protect=0.4)))


def test_the_tolerance_can_be_chosen() -> None:
    assert list(regressions(report(protect=0.5), report(protect=0.4), tolerance=1.1))


def test_a_count_that_was_nothing_may_not_become_something() -> None:
    assert list(regressions(report(queries=1), report(queries=0)))


def test_a_ratio_that_is_new_has_nothing_to_be_worse_than() -> None:
    old = report()
    before = type(old)(environment={}, rounds=1, results=old.results[1:])
    assert not list(regressions(report(protect=99), before))


def test_what_only_some_tries_show_was_the_machine() -> None:
    tries = iter([[worse("a", 1, 2), worse("b", 1, 3)], [worse("a", 1, 4)], [worse("a", 1, 5)]])
    assert lasting(tries) == [worse("a", 1, 2)]


def test_no_further_try_is_made_once_nothing_is_worse() -> None:
    tries = iter([[worse("a", 1, 2)], [], [worse("a", 1, 2)]])
    assert lasting(tries) == []
    assert list(tries) == [[worse("a", 1, 2)]]


def test_missed_limits() -> None:
    assert not missed(report())
    assert list(missed(report(protect=0.6))) == ["hot: protect / a peer"]
