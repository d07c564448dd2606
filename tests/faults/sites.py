"""Sites of many sizes: how often their circuit opens by chance, and how soon in an outage.

Calls come at random moments, each to a random process that is idle, and each fails by chance. The
same calls go to a perfect counter, which knows every outcome at once. A simulation has its seed, so
it comes out the same each time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

import pytest
from django.conf import settings
from django.test.utils import override_settings

from circuits.core.policy import Policy, Strategy
from circuits.core.status import State
from tests import clock as clocks
from tests.faults.fleet import Counter, Fleet, Perfect

#: Seconds after the opening in which calls of processes that do not know of it yet are counted.
AFTERMATH: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A site and what happens to it.

    Args:
        failure_share: The share of the calls that fail.
        call_seconds: How long a call takes; a process makes one at a time, and a call that finds
            no process idle is not made.
        strategy: What opens the circuit.
        snapshot_seconds: The site's ``SNAPSHOT_SECONDS``.
        flush_seconds: The site's ``FLUSH_SECONDS``.
        delay: The policy's, in seconds.
        broken: How many of the processes cannot reach the remote.
    """

    processes: int
    calls_per_second: float
    failure_share: float = 0.0
    call_seconds: float = 0.0
    strategy: Strategy = Strategy.CONSECUTIVE
    snapshot_seconds: float = 0.2
    flush_seconds: float = 5.0
    delay: float = 10.0
    broken: int = 0


class Openings(NamedTuple):
    """How often the closed circuit opened.

    Args:
        ours: That of the site.
        perfect: The perfect counter.
        seconds: In how much time.
        failures: Calls of the site that were made and failed.
    """

    ours: int
    perfect: int
    seconds: float
    failures: int


class Alone(NamedTuple):
    """What some broken processes did to the others.

    Args:
        openings: How often the circuit opened for all.
        refused: The share of the others' calls that were refused.
        let_through: Calls that each broken process was let make, in the mean.
    """

    openings: int
    refused: float
    let_through: float


class Outage(NamedTuple):
    """How a full outage ended.

    Args:
        calls: Failing calls up to the one that opened the circuit.
        seconds: From the beginning of the outage to the opening.
        after: Failing calls of processes that did not know of it yet.
    """

    calls: int
    seconds: float
    after: int


class _Call(NamedTuple):
    ends_at: float
    process: int
    fails: bool
    leaves: list[tuple[Counter, object]]


class Site:
    """A site on a clock of its own, and a perfect counter that is given the same calls."""

    def __init__(self, setting: Setting, clock: clocks.Clock, chance: Random) -> None:
        policy = Policy(strategy=setting.strategy, delay=setting.delay)
        self.clock = clock
        self.ours = Fleet(setting.processes, policy, clock, chance)
        self.perfect = Perfect(policy, clock)
        self._counters: tuple[Counter, ...] = (self.ours, self.perfect)
        self._setting = setting
        self._chance = chance
        self._idle = list(range(setting.processes))
        self._under_way: deque[_Call] = deque()
        #: Calls asked for and let through, of the broken processes and of the others.
        self.asked, self.passed = [0, 0], [0, 0]

    def play(self, calls: int, failure_share: float) -> None:
        """Let that many calls come."""
        at = self.clock.now
        for _ in range(calls):
            at += self._chance.expovariate(self._setting.calls_per_second)
            self._settle_until(at)
            self.ours.flush_until(at)
            self.clock.now = at
            if self._idle:
                self._begin(self._chance.random() < failure_share)

    def _begin(self, fails: bool) -> None:
        process = self._idle.pop(int(self._chance.random() * len(self._idle)))
        leaves = [
            (counter, leave)
            for counter in self._counters
            if (leave := counter.admit(process)) is not None
        ]
        is_well = process >= self._setting.broken
        fails = fails or not is_well
        self.asked[is_well] += 1
        self.passed[is_well] += any(counter is self.ours for counter, _ in leaves)
        ends_at = self.clock.now + self._setting.call_seconds
        self._under_way.append(_Call(ends_at, process, fails, leaves))

    def _settle_until(self, moment: float) -> None:
        while self._under_way and self._under_way[0].ends_at <= moment:
            self.clock.now, process, fails, leaves = self._under_way.popleft()
            self._idle.append(process)
            for counter, leave in leaves:
                counter.settle(leave, fails)


@contextmanager
def site(setting: Setting, seed: int) -> Iterator[Site]:
    """Give a site that no call has come to yet."""
    keys = {"SNAPSHOT_SECONDS": setting.snapshot_seconds, "FLUSH_SECONDS": setting.flush_seconds}
    with (
        pytest.MonkeyPatch.context() as patch,
        override_settings(CIRCUITS={**settings.CIRCUITS, **keys}),
    ):
        yield Site(setting, clocks.install(patch), Random(seed))


def openings(setting: Setting, calls: int, seed: int = 1) -> Openings:
    """Let calls come, and count how often they opened the closed circuit."""
    with site(setting, seed) as played:
        began_at = played.clock.now
        played.play(calls, setting.failure_share)
        return Openings(
            ours=_opened(played.ours),
            perfect=_opened(played.perfect),
            seconds=played.clock.now - began_at,
            failures=len(played.ours.failed_at),
        )


def alone(setting: Setting, seconds: float, seed: int = 1) -> Alone:
    """Let some processes fail all their calls while the others reach the remote."""
    with site(setting, seed) as played:
        played.play(int(seconds * setting.calls_per_second), setting.failure_share)
        return Alone(
            openings=_opened(played.ours),
            refused=1 - played.passed[True] / played.asked[True],
            let_through=played.passed[False] / setting.broken,
        )


def outages(setting: Setting, healthy_seconds: float, seed: int = 1) -> tuple[Outage, Outage]:
    """Let every call fail after a time in which none did; return ours and the perfect counter's."""
    with site(setting, seed) as played:
        played.play(int(healthy_seconds * setting.calls_per_second), failure_share=0)
        began_at = played.clock.now
        while not (played.ours.changes and played.perfect.changes):
            played.play(1, failure_share=1)
        played.play(int(AFTERMATH * setting.calls_per_second), failure_share=1)
        return _outage(played.ours, began_at), _outage(played.perfect, began_at)


def _opened(counter: Counter) -> int:
    return sum(change.from_state is State.CLOSED for change in counter.changes)


def _outage(counter: Counter, began_at: float) -> Outage:
    opened_at = counter.changes[0].at
    until = sum(at <= opened_at for at in counter.failed_at)
    return Outage(until, opened_at - began_at, len(counter.failed_at) - until)
