"""Work that one thread does for another, and what happens to it when nobody waits any more."""

from __future__ import annotations

from threading import Event

import pytest

from circuits.process.errands import Errand
from tests.concurrency import PATIENCE, in_threads


def test_the_result_is_there_once_the_work_is_done() -> None:
    errand = Errand(lambda: "done")
    assert (errand.has_begun, errand.wait(0)) == (False, False)
    errand.do()
    assert errand.has_begun
    assert errand.wait(0)
    assert errand.wait(0), "as often as somebody asks"
    assert errand.result() == "done"


def test_what_the_work_raises_is_raised_where_its_result_is_asked_for() -> None:
    def fail() -> str:
        raise KeyboardInterrupt

    errand = Errand(fail)
    errand.do()
    assert errand.wait(0)
    with pytest.raises(KeyboardInterrupt):
        errand.result()


def test_work_that_was_given_up_before_it_began_is_not_done() -> None:
    done: list[str] = []
    errand = Errand(lambda: done.append("work"))
    errand.give_up(lambda result: done.append("late"))
    errand.do()
    assert not done
    assert not errand.wait(0)


def test_a_result_that_comes_late_is_passed_on_by_who_does_the_work() -> None:
    late: list[str] = []

    def work() -> str:
        errand.give_up(late.append)
        return "late"

    errand = Errand(work)
    errand.do()
    assert late == ["late"]


def test_a_result_that_comes_while_it_is_given_up_is_passed_on() -> None:
    late: list[str] = []
    errand = Errand(lambda: "late")
    errand.do()
    errand.give_up(late.append)
    assert late == ["late"]


def test_an_error_that_comes_late_is_nobodys() -> None:
    late: list[object] = []

    def fail() -> None:
        errand.give_up(late.append)
        raise ValueError

    errand = Errand(fail)
    errand.do()
    assert not late


@pytest.mark.parametrize("_run", range(50))
def test_whoever_comes_first_each_work_is_done_once_and_each_result_passed_on_once(
    _run: int,
) -> None:
    done: list[int] = []
    late: list[None] = []
    errand = Errand(lambda: done.append(1))

    def one_of_them(index: int) -> None:
        if index % 2:
            errand.do()
        else:
            errand.give_up(late.append)

    in_threads(2, one_of_them)
    assert len(done) == len(late)
    assert len(done) <= 1


def test_who_waits_is_woken() -> None:
    begun = Event()
    errand = Errand(begun.is_set)

    def one_of_them(index: int) -> None:
        if index:
            begun.set()
            errand.do()
        else:
            assert errand.wait(PATIENCE)
            assert errand.result()

    in_threads(2, one_of_them)
