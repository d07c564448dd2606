"""Simulates sites: how often their circuit opens by chance, and how soon it opens in an outage.

Calls come at random moments, each to a random idle process, and each fails by chance. A perfect
counter, which learns every outcome at once, gets the same calls. A simulation has a seed, so it has
the same result each time.
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
from circuits.process import gate
from tests import clock as clocks
from tests.faults.fleet import Counter, Fleet, Perfect

#: Seconds after the opening in which calls of processes that have not noticed it are counted.
AFTERMATH: Final = 1.0

#: Seconds without failures before a part of the remote goes down: more than a window lasts.
HEALTHY: Final = 65.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A site and its traffic.

    Args:
        failure_share: The share of the calls that fail.
        call_seconds: How long a call takes. A process makes one call at a time; a call that finds
            no idle process is not made.
        strategy: The strategy of the policy.
        failure_rate: The limit of the policy to the share of failures.
        snapshot_seconds: The site's ``SNAPSHOT_SECONDS``.
        flush_seconds: The site's ``FLUSH_SECONDS``.
        delay: The delay of the policy, in seconds.
        broken: How many of the processes cannot reach the remote.
    """

    processes: int
    calls_per_second: float
    failure_share: float = 0.0
    call_seconds: float = 0.0
    strategy: Strategy = Strategy.CONSECUTIVE
    failure_rate: float = 0.5
    snapshot_seconds: float = 0.2
    flush_seconds: float = 5.0
    delay: float = 10.0
    broken: int = 0


class Openings(NamedTuple):
    """How often the closed circuit opened.

    Args:
        ours: How often the site's circuit opened.
        perfect: How often the perfect counter opened.
        seconds: How long the simulation lasted.
        failures: How many calls of the site were made and failed.
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
        let_through: How many calls each broken process made, on average.
    """

    openings: int
    refused: float
    let_through: float


class Partial(NamedTuple):
    """What became of the calls to a remote of which a part is down.

    Args:
        good_lost: The share of the calls that would have succeeded, and were refused; None if no
            call would have.
        bad_made: The share of the calls that would have failed, and were made.
    """

    good_lost: float | None
    bad_made: float


class Outage(NamedTuple):
    """How a circuit opened in a full outage.

    Args:
        calls: How many calls failed, up to the one that opened the circuit.
        seconds: Seconds from the beginning of the outage until the circuit opened.
        after: How many calls failed later, in processes that had not noticed the opening.
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
    """A site with a clock of its own, and a perfect counter that gets the same calls."""

    def __init__(self, setting: Setting, clock: clocks.Clock, chance: Random) -> None:
        policy = Policy(
            strategy=setting.strategy, failure_rate=setting.failure_rate, delay=setting.delay
        )
        self.clock = clock
        self.ours = Fleet(setting.processes, policy, clock, chance)
        self.perfect = Perfect(policy, clock)
        self._counters: tuple[Counter, ...] = (self.ours, self.perfect)
        self._setting = setting
        self._chance = chance
        self._idle = list(range(setting.processes))
        self._under_way: deque[_Call] = deque()
        #: The calls asked for and those let through, of the broken processes and of the others.
        self.asked, self.passed = [0, 0], [0, 0]
        #: The same for the calls that would succeed, and for those that would fail.
        self.asked_for, self.made = [0, 0], [0, 0]

    def play(self, calls: int, failure_share: float) -> None:
        """Let ``calls`` calls come, of which a share fails."""
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
        passes = any(counter is self.ours for counter, _ in leaves)
        self.asked[is_well] += 1
        self.passed[is_well] += passes
        self.asked_for[fails] += 1
        self.made[fails] += passes
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
    """Yield a site to which no call has come yet."""
    keys = {"SNAPSHOT_SECONDS": setting.snapshot_seconds, "FLUSH_SECONDS": setting.flush_seconds}
    with (
        pytest.MonkeyPatch.context() as patch,
        override_settings(CIRCUITS={**settings.CIRCUITS, **keys}),
    ):
        gate.random.seed(seed)
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


def partial(setting: Setting, share: float, seconds: float = 300.0, seed: int = 1) -> Partial:
    """Let a share of the calls fail for a while, after a time in which none did."""
    with site(setting, seed) as played:
        played.play(int(HEALTHY * setting.calls_per_second), failure_share=0)
        asked, made = played.asked_for[:], played.made[:]
        played.play(int(seconds * setting.calls_per_second), share)
        asked = [after - before for before, after in zip(asked, played.asked_for, strict=True)]
        made = [after - before for before, after in zip(made, played.made, strict=True)]
        lost = 1 - made[False] / asked[False] if asked[False] else None
        return Partial(lost, made[True] / asked[True])


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
