"""The checker finds each kind of broken history, and no fault in a good one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.faults.history import History, Move, Passed, Refused, Trial, problems

AUTO = "automatic"

#: A good history: an opening, a trial that failed, one that succeeded, then operations of staff.
MOVES = (
    Move(1, "closed", "open", AUTO, AUTO, "failures", 10.0),
    Move(2, "open", "half_open", AUTO, AUTO, "delay_passed", 12.0),
    Move(3, "half_open", "open", AUTO, AUTO, "trial_failed", 13.0),
    Move(4, "open", "half_open", AUTO, AUTO, "delay_passed", 15.0),
    Move(5, "half_open", "closed", AUTO, AUTO, "trial_succeeded", 16.0),
    Move(6, "closed", "open", AUTO, "forced_open", "mode", 17.0),
    Move(7, "open", "open", "forced_open", AUTO, "mode", 18.0),
    Move(8, "open", "half_open", AUTO, AUTO, "delay_passed", 18.1),
    Move(9, "half_open", "closed", AUTO, "forced_closed", "mode", 19.0),
    Move(10, "closed", "closed", "forced_closed", "observe", "mode", 20.0),
    Move(11, "closed", "open", "observe", "observe", "failures", 21.0),
    Move(12, "open", "open", "observe", AUTO, "mode", 21.5),
    Move(13, "open", "closed", AUTO, AUTO, "reset", 22.0),
)

GOOD = History(
    moves=MOVES,
    passed=[Passed(0, 9.9), Passed(0, 10.4), Passed(9, 19.5), Passed(11, 21.2), Passed(13, 99.0)],
    refused=[
        Refused(0, 0, 9.0, is_own=True),
        Refused(1, 1, 11.0),
        Refused(3, 5, 15.2),
        Refused(6, 6, 18.4),
        Refused(12, 12, 22.4),
    ],
    trials=[
        Trial(0, 9.0, 9.5, is_own=True),
        Trial(0, 9.1, 9.6, is_own=True),
        Trial(2, 12.0, 13.0),
        Trial(4, 15.0, 15.5),
        Trial(4, 15.5, 16.0),
        Trial(8, 18.2, 25.0),
    ],
    delay=2.0,
    most_trials=1,
    late_seconds=0.5,
)


def moved(generation: int, **values: Any) -> History:
    """Return the good history with other values in one of its moves."""
    moves = [move._replace(**values) if move.generation == generation else move for move in MOVES]
    return replace(GOOD, moves=moves)


def test_a_good_history_has_no_problems() -> None:
    assert problems(GOOD) == []


def test_a_history_without_a_move_has_no_problems() -> None:
    assert problems(replace(GOOD, moves=[], passed=[Passed(0, 99.0)], refused=[], trials=[])) == []


BROKEN = {
    "Generation 5 follows 3.": replace(GOOD, moves=MOVES[:3] + MOVES[4:]),
    "Generation 3 follows 3.": replace(GOOD, moves=MOVES[:3] + MOVES[2:]),
    "Generation 2 begins where 1 did not end.": moved(1, to_state="half_open"),
    "Generation 7 begins where 6 did not end.": moved(7, from_mode="observe"),
    "Generation 1 begins where 0 did not end.": moved(1, from_mode="observe"),
    "Generation 5 began before 4.": moved(5, at=14.9),
    "Generation 2 came before the delay had passed.": moved(2, at=11.9),
    "Generation 4 came before the delay had passed.": moved(4, at=14.9),
    "Generation 5 is no move of the state machine": moved(5, reason="failures"),
    "Generation 13 is no move of the state machine": moved(13, reason="trial_succeeded"),
    "Generation 11 is no move of the state machine": moved(11, to_mode=AUTO),
    "Generation 9 is no move of the state machine": moved(9, to_state="half_open"),
    "Generation 10 is no move of the state machine": moved(10, to_mode="forced_closed"),
    "A call passed in generation 1, which was open.": replace(GOOD, passed=[Passed(1, 10.1)]),
    "A call passed in generation 2, which was half_open.": replace(GOOD, passed=[Passed(2, 12.1)]),
    "A call passed in generation 14, which was unknown.": replace(GOOD, passed=[Passed(14, 99)]),
    "Generation 0 was believed 0.6 seconds after": replace(GOOD, passed=[Passed(0, 10.6)]),
    "A call was refused in generations 0 to 0.": replace(GOOD, refused=[Refused(0, 0, 9.0)]),
    "A call was refused in generations 9 to 10.": replace(GOOD, refused=[Refused(9, 10, 19.5)]),
    "A call was refused in generations 11 to 11.": replace(GOOD, refused=[Refused(11, 11, 21.2)]),
    "Generation 1 was believed 0.7 seconds after": replace(GOOD, refused=[Refused(1, 1, 12.7)]),
    "A trial was made in generation 3, which was open.": replace(GOOD, trials=[Trial(3, 13, 14)]),
    "A trial was made in generation 4, which was half_open.": replace(
        GOOD, trials=[Trial(4, 15.0, 15.5, is_own=True)]
    ),
    "A call was refused in generations 14 to 14.": replace(
        GOOD, refused=[Refused(14, 14, 99.0, is_own=True)]
    ),
    "2 trials were under way at once in generation 4.": replace(
        GOOD, trials=[Trial(4, 15.0, 15.5), Trial(4, 15.49, 15.6)]
    ),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_a_breakage_is_found(problem: str) -> None:
    found = problems(BROKEN[problem])
    assert any(each.startswith(problem) for each in found), found


def test_more_trials_than_one_may_be_allowed() -> None:
    trials = [Trial(4, 15.0, 15.5), Trial(4, 15.1, 15.6), Trial(4, 15.2, 15.3)]
    two = replace(GOOD, trials=trials, most_trials=2)
    assert problems(two) == ["3 trials were under way at once in generation 4."]
    assert problems(replace(two, most_trials=3)) == []
