"""How long calls take when the database server falls silent."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Timer
from typing import Any, Final

from django.db import connections

from bench import traffic
from bench.crew import HEADSTART, crew
from bench.databases import ALIASES, close
from bench.measure import BrokenContenderError, Effort
from bench.results import Ratio, Result, Table
from bench.traffic import THREADS, CallerReport, Span
from tests.faults.proxy import Proxy, proxy_to

from .case import Case

NAME: Final = "silence"

CIRCUITS: Final = 8

#: The share of the calls that fail, and so ask the database.
FAILING: Final = 0.01

#: Seconds for which the server is well, then silent, then well again.
BEFORE: Final = 4.0
SILENT: Final = 6.0
AFTER: Final = 4.0

#: Seconds above which a call counts as long.
LONG: Final = 0.1

#: The most seconds that a call may take, and the most calls in 10,000 that may be long.
LONGEST: Final = 1.0
LONG_ONES: Final = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long calls took from the moment at which the server fell silent.

    Args:
        calls: How many calls ended after that moment, including those under way then.
        longest: Seconds that the longest call took.
        long: How many calls took longer than ``LONG``.
        noticed: Seconds until the process went on without the database.
    """

    calls: int
    longest: float
    long: int
    noticed: float

    @property
    def long_in_10_000(self) -> float:
        """How many of 10,000 calls took longer than ``LONG``."""
        return 10_000 * self.long / self.calls


def waits(spans: Sequence[Span], left_at: Sequence[float], silent_at: float) -> Waits:
    """Return how long the calls took that ended after the server fell silent.

    Args:
        spans: The spans of all calls.
        left_at: The moments at which the process went on without the database.
        silent_at: The moment at which the server fell silent.

    Raises:
        BrokenContenderError: The process never went on without the database, or did so earlier.
    """
    if not left_at or min(left_at) < silent_at:
        raise BrokenContenderError("The process did not go on without its database just then.")
    taken = [took for began, took in spans if began + took >= silent_at]
    return Waits(
        calls=len(taken),
        longest=max(taken),
        long=sum(took > LONG for took in taken),
        noticed=min(left_at) - silent_at,
    )


def run(effort: Effort) -> Result:
    """Time the calls of a process whose database server falls silent and recovers."""
    close()
    found = {service: _measure(alias) for service, alias in ALIASES.items()}
    return Result(
        name=NAME,
        title=(
            f"A server silent for {SILENT:g} s, under {THREADS} threads and {CIRCUITS} circuits"
            f" with {FAILING:.0%} failures"
        ),
        ratios=tuple(ratios(found)),
        table=Table(
            columns=(
                "database",
                "calls",
                "longest call, s",
                f"calls over {LONG:g} s",
                "in 10,000",
                "noticed after, s",
            ),
            rows=tuple(
                (
                    service,
                    each.calls,
                    each.longest,
                    each.long,
                    each.long_in_10_000,
                    each.noticed,
                )
                for service, each in found.items()
            ),
        ),
    )


def _measure(alias: str) -> Waits:
    where: dict[str, Any] = connections.settings[alias]
    names = [f"{NAME} {number}" for number in range(CIRCUITS)]
    silences: list[float] = []
    with crew(1) as process, proxy_to((where["HOST"], int(where["PORT"]))) as proxy:
        timers = [
            Timer(HEADSTART + BEFORE, _silence, (proxy, silences)),
            Timer(HEADSTART + BEFORE + SILENT, proxy.mend),
        ]
        for timer in timers:
            timer.start()
        try:
            report: CallerReport = process.run(
                traffic.keep_calling, alias, proxy.port, names, FAILING, BEFORE + SILENT + AFTER
            )[0]
        finally:
            for timer in timers:
                timer.cancel()
            proxy.mend()
    [silent_at] = silences
    return waits(report.spans, report.left_at, silent_at)


def _silence(proxy: Proxy, silences: list[float]) -> None:
    silences.append(time.monotonic())
    proxy.stall()


def ratios(found: dict[str, Waits]) -> Iterator[Ratio]:
    """Yield the waits that are promised, each with its limit."""
    for service, each in found.items():
        yield Ratio(
            name=f"seconds of the longest call on {service}", value=each.longest, limit=LONGEST
        )
        yield Ratio(
            name=f"calls in 10,000 over {LONG:g} s on {service}",
            value=each.long_in_10_000,
            limit=LONG_ONES,
        )


CASE: Final = Case(name=NAME, run=run, needs=("PostgreSQL", "MariaDB"))
