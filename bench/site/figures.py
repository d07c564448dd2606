"""What the requests of a run say, as numbers and as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Final

from ..results import Result, Table
from .contenders import OURS
from .load import Request

#: Seconds, for a page that needs nobody, above which a visitor has noticed.
SLOW_SECONDS: Final = 0.25

#: How many processes the site has.
PROCESSES: Final = 4

#: Seconds before the outage from which on a call may come to be answered in it.
EARLIER: Final = 0.5

#: Characters in a line of the pages.
WIDTH: Final = 100

NEVER: Final = "never"

TITLE: Final = "A remote hangs, and then is well: what becomes of a site"

COLUMNS: Final = (
    "contender",
    "other page: slow or lost",
    "of these lost",
    "calls to the dead remote",
    "all refuse after, s",
    "first page again after, s",
    "every page again after, s",
    "faults before",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What an outage cost.

    Args:
        slow_or_lost: Requests of the page that needs no remote which took over 250 ms or were lost.
        lost: Those of them that were lost.
        asked: All requests of that page.
        reached: Calls that reached the remote while it hung.
        refused_after: Seconds from the outage's start until each process had refused a call; None
            if one never did.
        first_after: Seconds from its end until the page that needs the remote was first served.
        every_after: Seconds from its end until the last of these pages that was not served; None
            if they still failed when the load ended.
        early: Such pages that were not served while all was well before the outage.
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
        start: When the outage began, on the monotonic clock.
        end: When it was over.
        reached: Calls that reached the remote meanwhile.
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
    """Return the figures of each contender as a case of a report."""
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


def asked(found: Result) -> str:
    """Return how many requests of the page that needs no remote there were, as text."""
    assert found.table is not None
    return found.table.columns[1].rpartition(" ")[2]


def column(found: Result, number: int) -> dict[str, int]:
    """Return a column of counts, by contender."""
    assert found.table is not None
    return {str(row[0]): int(row[number]) for row in found.table.rows}


def told(found: Result, folder: str) -> str:
    """Return the plot, and a paragraph that tells its figures.

    Args:
        folder: Where the plot lies, seen from the page.
    """
    slow, reached = column(found, 1), column(found, 3)
    bars = "; ".join(f"{name}: {slow[name]:,} and {reached[name]:,}" for name in slow)
    alt = f"Slow or lost requests of {asked(found)}, and calls to the dead remote: {bars}."
    without, *peers = (name for name in slow if not name.startswith(OURS))
    limited = next(name for name in slow if "max_concurrent" in name)
    text = (
        f"A remote hangs for 20 seconds. Of {asked(found)} requests of a page that does not need"
        f" it, {slow[without]:,} took over 250 ms or got no answer without a breaker,"
        f" {', '.join(f'{slow[name]:,} with {name}' for name in peers)},"
        f" {slow[OURS]:,} with {OURS} by default, and {slow[limited]:,} with `max_concurrent = 2`"
        f" and `max_wait_seconds = 0.1`. Without a breaker {reached[without]:,} calls went to the"
        f" dead remote, with {OURS} {reached[OURS]:,}."
    )
    return f"![{alt}]({folder}/site.svg)\n\n{fill(text, WIDTH, break_on_hyphens=False)}\n"
