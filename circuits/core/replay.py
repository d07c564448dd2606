"""Drives the real machine with recorded calls, to see what a policy would have done.

One machine hears of each call at once, as on a site of one process. If a call was refused while it
was recorded, nobody knows the outcome it would have had: it may be refused again, and else counts
as nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import count, pairwise
from math import inf
from typing import Final, NamedTuple

from . import machine, windows
from .policy import LONGEST, MOST_CALLS, Policy
from .recording import Call, Ending
from .status import Batch, Failure, Permit, State, Status, Step
from .windows import Outcome

#: How many leases a trial lasts at most, since its process renews the first one.
LEASES: Final = 10

#: The least number of times that successes are merged within the length of a time window.
MERGES: Final = 20

_OUTCOMES: Final = {Ending.GOOD: Outcome.GOOD, Ending.FAILED: Outcome.FAILED}


class Stay(NamedTuple):
    """A period that the circuit would have spent in one state."""

    state: State
    since: float
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The result of a replay under one policy.

    Args:
        openings: How often the circuit would have gone from closed to open.
        down_seconds: For how many seconds it would not have been closed.
        good: How many recorded calls succeeded.
        good_refused: How many of the good calls it would have refused.
        bad: How many recorded calls failed.
        bad_spared: How many of the bad calls it would have refused.
        unknown: How many calls were refused while they were recorded.
        stays: The states the circuit would have been in, the oldest first.
    """

    openings: int
    down_seconds: float
    good: int
    good_refused: int
    bad: int
    bad_spared: int
    unknown: int
    stays: tuple[Stay, ...]


def replay(
    calls: Iterable[Call],
    policy: Policy,
    since: float,
    until: float,
    chance: Callable[[], float] = lambda: 0.0,
) -> Replayed:
    """Return what a policy would have done with recorded calls.

    Args:
        calls: The calls in the order in which they began.
        since: When the recording began. The circuit is closed at that time.
        until: When the recording ended.
        chance: Returns random numbers in [0, 1), for jitter, ramp-ups and partial enforcement.
    """
    player = _Player(policy, since, chance)
    for call in calls:
        player.begin(call)
    return player.result(until)


class _Player:
    def __init__(self, policy: Policy, since: float, chance: Callable[[], float]) -> None:
        lease = min(policy.lease_seconds * LEASES, LONGEST)
        self._policy = replace(policy, lease_seconds=lease)
        self._chance = chance
        self._status = Status()
        self._numbers = count()
        #: A heap of calls by the time at which their outcome is reported. The number breaks ties.
        self._under_way: list[tuple[float, int, Call, Permit]] = []
        self._known = dict.fromkeys(Ending, 0)
        self._refused = dict.fromkeys(Ending, 0)
        self._states = [(since, State.CLOSED)]
        self._openings = 0
        # The outcomes that are not in the window yet.
        self._batch = ""
        self._batch_generation = 0
        self._batch_at = 0.0

    def begin(self, call: Call) -> None:
        """Begin a call, after reporting the outcomes that are due before it."""
        at, number = call.began_at, next(self._numbers)
        self._end_until(at)
        self._known[call.ending] += 1
        admission = machine.admit(self._status, self._policy, at, str(number), self._chance())
        self._take(admission)
        permit = admission.permit
        if permit is None:
            self._refused[call.ending] += 1
        elif call.ending is Ending.REFUSED:
            self._take(machine.release(self._status, permit))
        else:
            heappush(self._under_way, (self._tells_at(call), number, call, permit))

    def result(self, until: float) -> Replayed:
        """Report the remaining outcomes, and return the result."""
        self._end_until(inf)
        if self._batch:
            self._take(self._merged(until))
        stays = tuple(
            Stay(state, since, max(since, min(end, until)))
            for (since, state), (end, _) in pairwise([*self._states, (until, State.CLOSED)])
            if since <= until
        )
        down = (stay.until - stay.since for stay in stays if stay.state is not State.CLOSED)
        return Replayed(
            openings=self._openings,
            down_seconds=sum(down),
            good=self._known[Ending.GOOD],
            good_refused=self._refused[Ending.GOOD],
            bad=self._known[Ending.FAILED],
            bad_spared=self._refused[Ending.FAILED],
            unknown=self._known[Ending.REFUSED],
            stays=stays,
        )

    def _is_slow(self, call: Call) -> bool:
        return 0 < self._policy.slow_call_seconds <= call.seconds

    def _tells_at(self, call: Call) -> float:
        """Return when a call's outcome is reported: at its end, or when it becomes overdue."""
        if self._is_slow(call):
            return call.began_at + self._policy.slow_call_seconds
        return call.ended_at

    def _end_until(self, moment: float) -> None:
        while self._under_way and self._under_way[0][0] <= moment:
            at, _number, call, permit = heappop(self._under_way)
            self._take(self._told(call, permit, at))

    def _told(self, call: Call, permit: Permit, at: float) -> Step:
        """Return the machine's step for the outcome of a call."""
        status, policy = self._status, self._policy
        if policy.has_window and permit.lease is None:
            return self._heard(call, permit, at)
        if call.ending is Ending.FAILED or self._is_slow(call):
            failure = Failure(own_run=status.failure_count + 1, chance=self._chance())
            return machine.fail(status, policy, permit, at, failure)
        if call.ending is Ending.NOTHING:
            return machine.release(status, permit)
        return machine.succeed(status, policy, permit, at)

    def _heard(self, call: Call, permit: Permit, at: float) -> Step:
        """Return the step of a strategy with a window. Successes are merged in batches."""
        if (call.ending is Ending.NOTHING and not self._is_slow(call)) or not permit.counts:
            return Step(self._status)
        if not self._batch or self._batch_generation != permit.generation:
            self._batch, self._batch_generation, self._batch_at = "", permit.generation, at
        outcome = _OUTCOMES[call.ending] if not self._is_slow(call) else Outcome.SLOW
        self._batch += outcome.value
        is_young = at < self._batch_at + self._policy.window_seconds / MERGES
        is_small = len(self._batch) < windows.least_calls(self._policy)
        if outcome is Outcome.GOOD and is_young and is_small:
            return Step(self._status)
        return self._merged(at)

    def _merged(self, at: float) -> Step:
        batch = Batch(
            generation=self._batch_generation,
            counts=windows.counted(self._batch),
            recent=self._batch[-MOST_CALLS:],
        )
        self._batch = ""
        return machine.merge(self._status, self._policy, at, batch)

    def _take(self, step: Step) -> None:
        self._status = step.status
        change = step.change
        if change is not None:
            self._states.append((change.at, change.to_state))
            was_closed = change.from_state is State.CLOSED
            self._openings += was_closed and change.to_state is State.OPEN
