"""How often circuits open by chance and how soon in an outage, for sites of many sizes.

``python -m tests.faults.simulation`` writes the tables in docs/faults.md: some minutes of work for
two processors. Calls come at random moments, each to a random process that is idle, and each
fails by chance. The same calls go to a perfect counter, which knows every outcome at once. A
simulation has its seed, so it comes out the same each time.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final, NamedTuple

import django
import pytest
from django.conf import settings
from django.test.utils import override_settings

from circuits.machine import Policy, State, Strategy
from tests import clock as clocks
from tests.faults import markers
from tests.faults.fleet import Counter, Fleet, Perfect

PAGE: Final = Path(__file__).parents[2] / "docs" / "faults.md"

PROCESSES: Final = (1, 8, 64, 256)
CALLS_PER_SECOND: Final = (10, 100, 1000, 4000)

#: How many calls to simulate at each share of failures: the rarer the event, the more.
CALLS: Final = {
    0.001: 50_000,
    0.01: 100_000,
    0.05: 300_000,
    0.1: 800_000,
    0.2: 150_000,
    0.3: 100_000,
}

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
    """

    processes: int
    calls_per_second: float
    failure_share: float = 0.0
    call_seconds: float = 0.0
    strategy: Strategy = Strategy.CONSECUTIVE
    snapshot_seconds: float = 0.2
    flush_seconds: float = 5.0


class Openings(NamedTuple):
    """How often the circuit opened, of the site and of the perfect counter, in how many seconds."""

    ours: int
    perfect: int
    seconds: float


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
        policy = Policy(strategy=setting.strategy)
        self.clock = clock
        self.ours = Fleet(setting.processes, policy, clock, chance)
        self.perfect = Perfect(policy, clock)
        self._counters: tuple[Counter, ...] = (self.ours, self.perfect)
        self._setting = setting
        self._chance = chance
        self._idle = list(range(setting.processes))
        self._under_way: deque[_Call] = deque()

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
        return Openings(_opened(played.ours), _opened(played.perfect), played.clock.now - began_at)


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


# The tables in the docs --------------------------------------------------------------------------


def main() -> None:
    """Write the tables."""
    with ProcessPoolExecutor(initializer=set_up) as pool:
        for name, text in (
            ("openings", _openings_table(pool)),
            ("slow calls", _slow_table(pool)),
            ("outages", _outage_table(pool)),
            ("rate openings", _rate_openings_table(pool)),
            ("rate outages", _rate_outage_table(pool)),
        ):
            markers.write(PAGE, name, text)


def set_up() -> None:
    """Set Django up, quietly: each opening is a line of the log otherwise."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    logging.getLogger("circuits").setLevel(logging.CRITICAL)


def _openings_table(pool: ProcessPoolExecutor) -> str:
    sites = list(product(PROCESSES, CALLS_PER_SECOND))
    rows = [[processes, rate] for processes, rate in sites]
    for share, calls in CALLS.items():
        cells = [
            Setting(processes=processes, calls_per_second=rate, failure_share=share)
            for processes, rate in sites
        ]
        _add_column(rows, pool.map(openings, cells, [calls] * len(cells)))
    return markers.table(["processes", "calls/s", *(f"{share:.1%}" for share in CALLS)], rows)


def _slow_table(pool: ProcessPoolExecutor) -> str:
    shares = (0.02, 0.05, 0.1)
    sites = [(16, 15.0, 1.0), (64, 60.0, 1.0), (64, 250.0, 0.25), (256, 500.0, 0.5)]
    rows: list[list[Any]] = [
        [processes, f"{rate:g}", seconds] for processes, rate, seconds in sites
    ]
    for share, snapshot_seconds in product(shares, (0.2, 0.0)):
        cells = [
            Setting(
                processes=processes,
                calls_per_second=rate,
                failure_share=share,
                call_seconds=seconds,
                snapshot_seconds=snapshot_seconds,
            )
            for processes, rate, seconds in sites
        ]
        _add_column(rows, pool.map(openings, cells, [200_000] * len(cells)))
    heads = [f"{share:.0%}{strict}" for share, strict in product(shares, ("", ", strict"))]
    return markers.table(["processes", "calls/s", "seconds a call", *heads], rows)


def _outage_table(pool: ProcessPoolExecutor) -> str:
    sites = list(product(PROCESSES, CALLS_PER_SECOND))
    cells = [Setting(processes=processes, calls_per_second=rate) for processes, rate in sites]
    rows = []
    for (processes, rate), (ours, _) in zip(sites, _outages(pool, cells, 2.0, 20), strict=True):
        rows.append(
            [
                processes,
                rate,
                f"{median(each.calls for each in ours):g}",
                f"{median(each.after for each in ours):g}",
                f"{median(each.seconds for each in ours) * 1000:.0f}",
                f"{max(each.seconds for each in ours) * 1000:.0f}",
            ]
        )
    return markers.table(
        ["processes", "calls/s", "failing calls", "and after", "milliseconds", "at most"], rows
    )


_RATE_SITES: Final = tuple(product((1, 8, 64), (10, 100, 1000)))


def _rate_openings_table(pool: ProcessPoolExecutor) -> str:
    rows: list[list[Any]] = [[processes, rate] for processes, rate in _RATE_SITES]
    shares, runs = (0.1, 0.2, 0.3), 10
    for share in shares:
        cells = [
            Setting(
                processes=processes,
                calls_per_second=rate,
                failure_share=share,
                strategy=Strategy.RATE,
            )
            for processes, rate in _RATE_SITES
            for _ in range(runs)
        ]
        seeds = list(range(runs)) * len(_RATE_SITES)
        found = list(pool.map(openings, cells, [10_000] * len(cells), seeds))
        for row, start in zip(rows, range(0, len(found), runs), strict=True):
            ours, perfect, _ = map(sum, zip(*found[start : start + runs], strict=True))
            row.append(f"{ours} / {perfect}")
    return markers.table(["processes", "calls/s", *(f"{share:.0%}" for share in shares)], rows)


def _rate_outage_table(pool: ProcessPoolExecutor) -> str:
    cells = [
        Setting(processes=processes, calls_per_second=rate, strategy=Strategy.RATE)
        for processes, rate in _RATE_SITES
    ]
    rows = [
        [
            *where,
            f"{median(each.seconds for each in ours):.1f}",
            f"{median(each.seconds for each in perfect):.1f}",
        ]
        for where, (ours, perfect) in zip(_RATE_SITES, _outages(pool, cells, 65.0, 3), strict=True)
    ]
    return markers.table(["processes", "calls/s", "seconds", "perfect counter"], rows)


def _outages(
    pool: ProcessPoolExecutor, cells: list[Setting], healthy_seconds: float, runs: int
) -> Iterator[tuple[list[Outage], list[Outage]]]:
    """Yield the outages of each setting, ours and the perfect counter's."""
    each_run: list[Iterable[tuple[Outage, Outage]]] = [
        pool.map(outages, cells, [healthy_seconds] * len(cells), [seed] * len(cells))
        for seed in range(runs)
    ]
    for found in zip(*each_run, strict=True):
        yield [ours for ours, _ in found], [perfect for _, perfect in found]


def _add_column(rows: list[list[Any]], found: Iterable[Openings]) -> None:
    """Add openings an hour to each row, ours beside the perfect counter's."""
    for row, (ours, perfect, seconds) in zip(rows, found, strict=True):
        hours = seconds / 3600
        row.append(f"{ours / hours:.0f} / {perfect / hours:.0f}")


if __name__ == "__main__":
    main()
