"""The set of the calls under way: when they are checked, and who settles them."""

from __future__ import annotations

from circuits.process.underway import Underway
from tests.concurrency import in_threads

FOREVER = float("inf")


class Call:
    look_at = FOREVER


def test_each_call_is_due_at_its_moment() -> None:
    underway: Underway[Call] = Underway()
    early, late = Call(), Call()
    underway.add(late, 20.0)
    underway.add(early, 10.0)
    assert [underway.due(now) for now in (9.9, 10.0, 20.0)] == [[], [early], [late, early]]
    assert underway.next_look() == 10.0
    early.look_at = FOREVER
    assert underway.next_look() == 20.0
    assert underway.take(late)
    assert (underway.due(1000.0), underway.next_look()) == ([], FOREVER)


def test_somebody_is_told_when_to_look() -> None:
    looks: list[float] = []
    underway: Underway[Call] = Underway(looks.append)
    underway.add(Call(), 20.0)
    underway.add(Call(), 10.0)
    assert looks == [20.0, 10.0]


def test_of_many_that_take_a_call_out_one_reports_it() -> None:
    underway: Underway[Call] = Underway()
    for _ in range(50):
        call = Call()
        underway.add(call, 0.0)
        assert sum(in_threads(4, lambda index, call=call: underway.take(call))) == 1  # type: ignore[misc]


def test_a_forked_child_leaves_its_parents_calls_to_the_parent() -> None:
    underway: Underway[Call] = Underway()
    call = Call()
    underway.add(call, 0.0)
    underway.forget()
    assert (underway.due(1.0), underway.take(call)) == ([], False)
