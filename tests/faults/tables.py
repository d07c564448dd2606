"""The tables of simulated sites in docs/faults.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, Final

from circuits.core.policy import Strategy
from tests.faults import markers
from tests.faults.retrying import FAILED_SHARES, Client, Sent, blips, outage
from tests.faults.sites import (
    Openings,
    Outage,
    Partial,
    Setting,
    alone,
    openings,
    outages,
    partial,
)

DOCS: Final = Path(__file__).parents[2] / "docs"

PAGE: Final = DOCS / "faults.md"

PROCESSES: Final = (1, 8, 64, 256)
CALLS_PER_SECOND: Final = (10, 100, 1000, 4000)

#: How many calls to simulate at each share of failures: the rarer an opening, the more calls.
CALLS: Final = {
    0.001: 30_000,
    0.01: 50_000,
    0.05: 150_000,
    0.1: 500_000,
    0.2: 100_000,
    0.3: 50_000,
}


def _openings_table(pool: Executor) -> str:
    sites = list(product(PROCESSES, CALLS_PER_SECOND))
    rows = [[processes, rate] for processes, rate in sites]
    for share, calls in CALLS.items():
        cells = [
            Setting(processes=processes, calls_per_second=rate, failure_share=share)
            for processes, rate in sites
        ]
        _add_column(rows, pool.map(openings, cells, [calls] * len(cells)))
    return markers.table(["processes", "calls/s", *(f"{share:.1%}" for share in CALLS)], rows)


def _slow_table(pool: Executor) -> str:
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
        _add_column(rows, pool.map(openings, cells, [100_000] * len(cells)))
    heads = [f"{share:.0%}{strict}" for share, strict in product(shares, ("", ", strict"))]
    return markers.table(["processes", "calls/s", "seconds a call", *heads], rows)


def _broken_table(pool: Executor) -> str:
    sites = [
        (processes, broken, rate)
        for processes in (8, 64, 256)
        for broken in sorted({1, 2, processes // 4})
        for rate in (processes * 2, processes * 20)
    ]
    rows: list[list[Any]] = [[*each] for each in sites]
    for share in (0.01, 0.1):
        cells = [
            Setting(
                processes=processes,
                broken=broken,
                calls_per_second=rate,
                failure_share=share,
                delay=2,
            )
            for processes, broken, rate in sites
        ]
        for row, each in zip(rows, pool.map(alone, cells, [60.0] * len(cells)), strict=True):
            row.append(f"{each.openings} / {each.refused:.2%} / {each.let_through:.0f}")
    return markers.table(["processes", "broken", "calls/s", "1%", "10%"], rows)


def _outage_table(pool: Executor) -> str:
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


def _rate_openings_table(pool: Executor) -> str:
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
            some = found[start : start + runs]
            row.append(f"{sum(each.ours for each in some)} / {sum(each.perfect for each in some)}")
    return markers.table(["processes", "calls/s", *(f"{share:.0%}" for share in shares)], rows)


def _rate_outage_table(pool: Executor) -> str:
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


#: The policies of the sites whose remote is down in part, and the shares of calls that fail there.
PARTIAL_POLICIES: Final = {
    "failures in a row": (Strategy.CONSECUTIVE, 0.5),
    "rate, limit 50 %": (Strategy.RATE, 0.5),
    "rate, limit 20 %": (Strategy.RATE, 0.2),
    "throttle, limit 50 %": (Strategy.THROTTLE, 0.5),
    "throttle, limit 20 %": (Strategy.THROTTLE, 0.2),
}
PARTS: Final = {"one of four": 0.25, "two of four": 0.5, "three of four": 0.75, "all four": 1.0}


def _partial_table(pool: Executor) -> str:
    cells = {
        (part, name): pool.submit(
            partial,
            Setting(processes=8, calls_per_second=100, strategy=strategy, failure_rate=limit),
            share,
        )
        for part, share in PARTS.items()
        for name, (strategy, limit) in PARTIAL_POLICIES.items()
    }
    rows = [
        [part, *(_lost_and_made(cells[part, name].result()) for name in PARTIAL_POLICIES)]
        for part in PARTS
    ]
    return markers.table(["shards down", *PARTIAL_POLICIES], rows)


def _lost_and_made(found: Partial) -> str:
    lost = "-" if found.good_lost is None else f"{found.good_lost:.0%}"
    return f"{lost} / {found.bad_made:.0%}"


#: Processes and calls a second of the sites whose calls are retried.
RETRYING_SITES: Final = tuple(product((8, 64), (1, 10, 100)))

#: Who retries in which column.
CLIENTS: Final = {
    "three retries": Client(),
    "within the budget": Client(is_within_budget=True),
    "with the breaker": Client(has_breaker=True),
    "with both": Client(is_within_budget=True, has_breaker=True),
}


def retries_table(pool: Executor) -> str:
    """Return what an outage of a minute loads on the remote, in multiples of the calls."""
    found = _of_each_client(pool, outage, RETRYING_SITES)
    rows = [[*site, *(f"{each.load:.2f}" for each in row)] for site, row in found]
    return markers.table(["processes", "calls/s", *CLIENTS], rows)


def blips_table(pool: Executor) -> str:
    """Return how many calls fail to the end if single attempts fail by chance."""
    rows = []
    for share in FAILED_SHARES:
        cells = [Client(is_within_budget=each, failure_share=share) for each in (False, True)]
        plain, within = pool.map(blips, cells)
        rows.append(
            [
                f"{share:.0%}",
                *(f"{each.failed_share:.2%} / {each.load:.2f}" for each in (plain, within)),
            ]
        )
    return markers.table(["attempts that fail", *list(CLIENTS)[:2]], rows)


def _of_each_client(
    pool: Executor, play: Callable[[Client, int, float], Sent], sites: Iterable[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], list[Sent]]]:
    for site in sites:
        clients = list(CLIENTS.values())
        numbers = ([each] * len(clients) for each in site)
        yield site, list(pool.map(play, clients, *numbers))


def _outages(
    pool: Executor, cells: list[Setting], healthy_seconds: float, runs: int
) -> Iterator[tuple[list[Outage], list[Outage]]]:
    """Yield the outages of each setting, ours and the perfect counter's."""
    each_run: list[Iterable[tuple[Outage, Outage]]] = [
        pool.map(outages, cells, [healthy_seconds] * len(cells), [seed] * len(cells))
        for seed in range(runs)
    ]
    for found in zip(*each_run, strict=True):
        yield [ours for ours, _ in found], [perfect for _, perfect in found]


def _add_column(rows: list[list[Any]], found: Iterable[Openings]) -> None:
    """Add a cell to each row: openings an hour, ours / the perfect counter's."""
    for row, each in zip(rows, found, strict=True):
        hours = each.seconds / 3600
        row.append(f"{each.ours / hours:.1f} / {each.perfect / hours:.1f}")


#: The functions that make the tables, by the names of their markers.
TABLES: Final[Mapping[str, Callable[[Executor], str]]] = {
    "openings": _openings_table,
    "slow calls": _slow_table,
    "broken": _broken_table,
    "outages": _outage_table,
    "rate openings": _rate_openings_table,
    "rate outages": _rate_outage_table,
    "partial": _partial_table,
    "retries": retries_table,
    "blips": blips_table,
}

#: The pages of those that are not in docs/faults.md.
_ELSEWHERE: Final = {
    **dict.fromkeys(("retries", "blips"), DOCS / "retries.md"),
    "partial": DOCS / "policies.md",
}


def write(pool: Executor, names: Iterable[str] = TABLES) -> None:
    """Simulate sites and write the named tables, each as soon as it is ready."""
    for name in names:
        markers.write(_ELSEWHERE.get(name, PAGE), name, TABLES[name](pool))
