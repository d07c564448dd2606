"""Turns the requests of a run into figures, and the figures into text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Final

from ..results import Result, Table
from .contenders import OURS
from .load import Request

#: Seconds above which a visitor notices that the page without the remote is slow.
SLOW_SECONDS: Final = 0.25

#: How many processes the site has.
PROCESSES: Final = 4

#: A request due this many seconds before the outage may still be answered in it.
EARLIER: Final = 0.5

#: The most characters in a line of the pages.
WIDTH: Final = 100

NEVER: Final = "never"

TITLE: Final = "A remote hangs and then recovers: what happens to a site"

COLUMNS: Final = (
    "contender",
    "other page: slow or lost",
    "of these, lost",
    "calls to the dead remote",
    "all refuse after, s",
    "first page again after, s",
    "every page again after, s",
    "failed before the outage",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What an outage cost.

    Args:
        slow_or_lost: How many requests for the page without the remote took over 250 ms, failed or
            were lost.
        lost: How many of these were lost.
        asked: How many requests for that page there were.
        reached: How many calls reached the remote while it hung.
        refused_after: Seconds from the start of the outage until each process had refused a call;
            None if a process never did.
        first_after: Seconds from the end of the outage until the page that needs the remote was
            served again; None if it never was.
        every_after: Seconds from the end of the outage until the last request for that page that
            was not served; None if they still failed when the load ended.
        early: How many requests for that page failed while all was well before the outage.
    """

    slow_or_lost: int
    lost: int
    asked: int
    reached: int
    refused_after: float | None
    first_after: float | None
    every_after: float | None
    early: int


def figures(requests: Sequence[Request], start: float, end: float, reached: int) -> Figures:
    """Return what an outage cost.

    Args:
        requests: All requests of the run.
        start: When the outage began, in seconds on the monotonic clock.
        end: When it ended, on the same clock.
        reached: How many calls reached the remote in the outage.
    """
    local = [each for each in requests if each.page == "local"]
    remote = [each for each in requests if each.page == "remote"]
    after = [each for each in remote if each.due >= end]
    served = [each.due + each.seconds for each in after if each.status == 200]
    return Figures(
        slow_or_lost=sum(each.seconds > SLOW_SECONDS or each.status != 200 for each in local),
        lost=sum(each.is_lost for each in local),
        asked=len(local),
        reached=reached,
        refused_after=_refused_after(remote, start),
        first_after=min(served) - end if served else None,
        every_after=_every_after(after, end),
        early=sum(each.due < start - EARLIER and each.status != 200 for each in remote),
    )


def _refused_after(remote: Iterable[Request], start: float) -> float | None:
    first: dict[str, float] = {}
    for each in remote:
        if each.status == 503 and each.answered_at >= start:
            known = first.get(each.process, each.answered_at)
            first[each.process] = min(known, each.answered_at)
    return max(first.values()) - start if len(first) == PROCESSES else None


def _every_after(after: Sequence[Request], end: float) -> float | None:
    faulty = [each.due for each in after if each.status != 200]
    if not faulty:
        return 0.0
    last = max(each.due for each in after)
    return None if max(faulty) > last - 1 else max(faulty) - end


# As text -----------------------------------------------------------------------------------------


def result(found: Mapping[str, Figures]) -> Result:
    """Return the figures of all contenders as the result of a case."""
    rows = tuple(_row(name, each) for name, each in found.items())
    asked = next(iter(found.values())).asked
    columns = (COLUMNS[0], f"{COLUMNS[1]}, of {asked:,}", *COLUMNS[2:])
    return Result(name="site", title=TITLE, table=Table(columns=columns, rows=rows))


def _row(name: str, each: Figures) -> tuple[str | float, ...]:
    seconds = (each.refused_after, each.first_after, each.every_after)
    return (
        name,
        each.slow_or_lost,
        each.lost,
        each.reached,
        *(NEVER if value is None else round(value, 1) for value in seconds),
        each.early,
    )


def total_requests(found: Result) -> str:
    """Return how many requests for the page without the remote there were, such as ``2,400``."""
    assert found.table is not None
    return found.table.columns[1].rpartition(" ")[2]


def column(found: Result, number: int) -> dict[str, int]:
    """Return the counts in a column of the table, by contender."""
    assert found.table is not None
    return {str(row[0]): int(row[number]) for row in found.table.rows}


def summary(found: Result, folder: str) -> str:
    """Return Markdown of the plot and of a paragraph with its figures.

    Args:
        folder: The folder of the plot, relative to the page.
    """
    slow, reached = column(found, 1), column(found, 3)
    bars = "; ".join(f"{name}: {slow[name]:,} and {reached[name]:,}" for name in slow)
    total = total_requests(found)
    alt = f"Slow or lost requests out of {total}, and calls to the dead remote: {bars}."
    without, *peers = (name for name in slow if not name.startswith(OURS))
    limited = next(name for name in slow if "max_concurrent" in name)
    text = (
        f"A remote hangs for 20 seconds. Of {total} requests for a page that does not need"
        f" it, {slow[without]:,} took over 250 ms or got no answer without a breaker,"
        f" {', '.join(f'{slow[name]:,} with {name}' for name in peers)},"
        f" {slow[OURS]:,} with {OURS} by default, and {slow[limited]:,} with `max_concurrent = 2`"
        f" and `max_wait_seconds = 0.1`. Without a breaker, {reached[without]:,} calls went to the"
        f" dead remote; with {OURS}, {reached[OURS]:,} did."
    )
    return f"![{alt}]({folder}/site.svg)\n\n{fill(text, WIDTH, break_on_hyphens=False)}\n"
