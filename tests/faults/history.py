"""Checks whether the state machine explains what many processes saw of a circuit.

These are pure functions of the records: the circuit's transitions, and the calls and refusals of
all processes. Times are in seconds, on the clock of the machine that database and processes share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from circuits.core.status import Mode, Reason, State


class Move(NamedTuple):
    """One transition of the circuit."""

    generation: int
    from_state: str
    to_state: str
    from_mode: str
    to_mode: str
    reason: str
    at: float


class Passed(NamedTuple):
    """Calls of one process that were let through and were not trials.

    Args:
        last_at: The moment just before the last of them asked.
    """

    generation: int
    last_at: float


class Refused(NamedTuple):
    """Refusals of one process.

    Args:
        first, last: The generations that the process knew before and after it asked. The refusal
            belongs to one between them.
        last_at: The moment just before the last of them asked.
        is_own: Whether the process may have refused by itself, because it accuses the remote.
    """

    first: int
    last: int
    last_at: float
    is_own: bool = False


class Trial(NamedTuple):
    """A trial, from the moment its lease was given until just before it was given back.

    Args:
        is_own: Whether it belongs to a process in quarantine, which takes no shared trial.
    """

    generation: int
    began_at: float
    ended_at: float
    is_own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything that was recorded of one circuit.

    Args:
        moves: The circuit's transitions, ordered by generation.
        delay: The delay of the policy, in seconds.
        most_trials: The ``half_open_max_calls`` of the policy.
        late_seconds: How long a process may go on with a generation that has ended.
    """

    moves: Sequence[Move]
    passed: Sequence[Passed] = ()
    refused: Sequence[Refused] = ()
    trials: Sequence[Trial] = ()
    delay: float
    most_trials: int
    late_seconds: float


#: The changes of state that each reason allows. A change of mode has rules of its own.
_WAYS: Final = {
    Reason.FAILURES: {(State.CLOSED, State.OPEN)},
    Reason.REFUTED: {(State.OPEN, State.CLOSED)},
    Reason.DELAY_PASSED: {(State.OPEN, State.HALF_OPEN)},
    Reason.TRY_NOW: {(State.OPEN, State.HALF_OPEN)},
    Reason.TRIAL_SUCCEEDED: {(State.HALF_OPEN, State.CLOSED)},
    Reason.TRIAL_FAILED: {(State.HALF_OPEN, State.OPEN)},
    Reason.RESET: {(State.OPEN, State.CLOSED), (State.HALF_OPEN, State.CLOSED)},
}

#: The modes in which only people move the circuit, and the states that go with them.
_FORCED: Final = {Mode.FORCED_OPEN: State.OPEN, Mode.FORCED_CLOSED: State.CLOSED}

#: Seconds by which moments may differ, since a database rounds them to the microsecond.
_ROUNDING: Final = 0.000_01


def problems(history: History) -> list[str]:
    """Return a sentence for each record that the state machine does not allow."""
    return [
        *_broken_path(history.moves),
        *_early_trials(history.moves, history.delay),
        *_wrong_passes(history),
        *_wrong_refusals(history),
        *_wrong_trials(history),
    ]


# The path ----------------------------------------------------------------------------------------

_BEGINNING: Final = Move(0, "", State.CLOSED, "", Mode.AUTOMATIC, "", float("-inf"))


def _broken_path(moves: Sequence[Move]) -> Iterator[str]:
    for before, move in pairwise([_BEGINNING, *moves]):
        if move.generation != before.generation + 1:
            yield f"Generation {move.generation} follows {before.generation}."
        if (move.from_state, move.from_mode) != (before.to_state, before.to_mode):
            yield f"Generation {move.generation} begins where {before.generation} did not end."
        if move.at < before.at:
            yield f"Generation {move.generation} began before {before.generation}."
        if not _is_allowed(move):
            yield f"Generation {move.generation} is no move of the state machine: {move}."


def _is_allowed(move: Move) -> bool:
    if move.reason == Reason.MODE:
        to_state = _FORCED.get(Mode(move.to_mode), State(move.from_state))
        return move.from_mode != move.to_mode and move.to_state == to_state
    # A reset closes a forced_closed circuit as well, but such a circuit is closed already.
    is_free = move.from_mode == move.to_mode and move.to_mode not in _FORCED
    return is_free and (move.from_state, move.to_state) in _WAYS[Reason(move.reason)]


def _early_trials(moves: Sequence[Move], delay: float) -> Iterator[str]:
    for opened, move in pairwise(moves):
        waits = opened.reason in (Reason.FAILURES, Reason.TRIAL_FAILED)
        if not (waits and move.reason == Reason.DELAY_PASSED):
            continue
        if move.at - opened.at < delay - _ROUNDING:
            yield f"Generation {move.generation} came before the delay had passed."


# What callers saw --------------------------------------------------------------------------------


def _wrong_passes(history: History) -> Iterator[str]:
    for passed in history.passed:
        state, mode = _stand(history.moves, passed.generation)
        if not (state == State.CLOSED or mode == Mode.OBSERVE):
            yield f"A call passed in generation {passed.generation}, which was {state}."
        yield from _late(history, passed.generation, passed.last_at)


def _wrong_refusals(history: History) -> Iterator[str]:
    for refused in history.refused:
        generations = range(refused.first, refused.last + 1)
        stands = {each: _stand(history.moves, each) for each in generations}
        refusing = [
            each
            for each, (state, mode) in stands.items()
            if _refuses(state, mode) or (refused.is_own and state == State.CLOSED)
        ]
        if not refusing:
            yield f"A call was refused in generations {refused.first} to {refused.last}."
        else:
            yield from _late(history, refusing[-1], refused.last_at)


def _wrong_trials(history: History) -> Iterator[str]:
    for trial in history.trials:
        state, _ = _stand(history.moves, trial.generation)
        if state != (State.CLOSED if trial.is_own else State.HALF_OPEN):
            yield f"A trial was made in generation {trial.generation}, which was {state}."
    shared = [trial for trial in history.trials if not trial.is_own]
    for generation in sorted({trial.generation for trial in shared}):
        trials = [trial for trial in shared if trial.generation == generation]
        most = most_at_once((trial.began_at, trial.ended_at) for trial in trials)
        if most > history.most_trials:
            yield f"{most} trials were under way at once in generation {generation}."


def _stand(moves: Sequence[Move], generation: int) -> tuple[str, str]:
    """Return the state and mode of a generation."""
    for move in (_BEGINNING, *moves):
        if move.generation == generation:
            return move.to_state, move.to_mode
    return "unknown", "unknown"


def _refuses(state: str, mode: str) -> bool:
    return state in (State.OPEN, State.HALF_OPEN) and mode in (Mode.AUTOMATIC, Mode.FORCED_OPEN)


def _late(history: History, generation: int, at: float) -> Iterator[str]:
    ends = [move.at for move in history.moves if move.generation == generation + 1]
    if ends and at > ends[0] + history.late_seconds:
        yield f"Generation {generation} was believed {at - ends[0]:.1f} seconds after its end."


def most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    """Return how many of some spans of time overlap at most.

    Args:
        spans: The beginning and the end of each span, in seconds.
    """
    steps = [step for began, ended in spans for step in ((began, 1), (ended, -1))]
    under_way = most = 0
    for _, step in sorted(steps):  # at the same moment, an end sorts before a beginning
        under_way += step
        most = max(most, under_way)
    return most
