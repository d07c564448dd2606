"""What a process asks of its database, for few circuits and for many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bench import traffic
from bench.crew import crew
from bench.databases import ALIASES, close
from bench.measure import BrokenContenderError, Effort
from bench.results import Ratio, Result, Table
from bench.traffic import THREADS, Cost

from .case import Case

NAME: Final = "pulse"

CIRCUITS: Final = (8, 20, 100)

#: Seconds that are counted, in which every process writes its tallies twice.
SECONDS: Final = 10.0

#: The same for threads that begin with circuits nobody has used yet.
FIRST_SECONDS: Final = 2.0

#: The most that a process may cost: reads a second, write transactions in five seconds, and
#: connections of threads whose calls succeed.
READS: Final = 5
WRITES: Final = 1
CONNECTIONS: Final = 2

Costs = dict[tuple[str, int], Cost]


def run(effort: Effort) -> Result:
    """Count what one process with traffic asks of its database, by the number of circuits."""
    close()
    costs = {
        (service, number): _cost(alias, number)
        for number in CIRCUITS
        for service, alias in ALIASES.items()
    }
    first = {service: _first_use(alias) for service, alias in ALIASES.items()}
    return Result(
        name=NAME,
        title=f"One process of {THREADS} threads whose calls succeed, by the circuits in use",
        ratios=(*ratios(costs), *first_ratios(first)),
        table=Table(
            columns=(
                "database",
                "circuits",
                "calls",
                "reads a second",
                "write transactions in 5 s",
                "statements a second",
                "connections",
            ),
            rows=tuple(
                (
                    service,
                    number,
                    cost.calls,
                    cost.reads,
                    cost.writes,
                    cost.statements,
                    cost.connections,
                )
                for (service, number), cost in costs.items()
            ),
        ),
    )


def _cost(alias: str, number: int) -> Cost:
    """Return what a process costs that has used each of its circuits once before."""
    with crew(1) as process:
        prefix = f"{NAME} {number}"
        cost: Cost = process.run(traffic.use, alias, prefix, number, SECONDS, False)[0]
    if not (cost.reads and cost.writes and cost.connections):
        raise BrokenContenderError(f"A process that used {number} circuits asked nothing: {cost}.")
    return cost


def _first_use(alias: str) -> Cost:
    """Return what a process costs whose threads all begin with new circuits at once."""
    with crew(1) as process:
        prefix, number = f"{NAME} first", min(CIRCUITS)
        cost: Cost = process.run(traffic.use, alias, prefix, number, FIRST_SECONDS, True)[0]
    return cost


def ratios(costs: Costs) -> Iterator[Ratio]:
    """Yield the costs that are promised, each with its limit."""
    for (service, number), cost in costs.items():
        where = f"{number} circuits on {service}"
        yield Ratio(name=f"reads a second, {where}", value=cost.reads, limit=READS)
        yield Ratio(name=f"write transactions in 5 s, {where}", value=cost.writes, limit=WRITES)
        yield Ratio(
            name=f"connections of {THREADS} threads, {where}",
            value=cost.connections,
            limit=CONNECTIONS,
        )


def first_ratios(first: dict[str, Cost]) -> Iterator[Ratio]:
    """Yield the connections that a first use by all threads at once takes; they have no limit."""
    for service, cost in first.items():
        yield Ratio(
            name=f"connections of {THREADS} threads that begin with new circuits on {service}",
            value=cost.connections,
        )


CASE: Final = Case(name=NAME, run=run, needs=("PostgreSQL", "MariaDB"))
