"""What a fleet asks of the database: measured on this machine, modelled for larger ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import circuits
from bench import peers, tasks
from bench.counting import count_on_redis
from bench.crew import Crew, crew
from bench.databases import circuits_on
from bench.measure import BrokenContenderError, Effort
from bench.results import Curves, Ratio, Result, Table
from bench.work import Work

from .case import Case
from .change import count_change, our_changes

NAME: Final = "fleet"

ALIAS: Final = "postgres"

#: Calls a second that each process makes.
RATE: Final = 1000

#: Fleets that are measured, and those that are only modelled.
MEASURED: Final = (1, 2, 4, 8)
MODELLED: Final = (16, 32, 64)

#: Seconds of a measurement: every process writes its tallies once in them.
SECONDS: Final = 5.5

SNAPSHOT_SECONDS: Final = 0.2

#: So short that a measurement sees several trials.
POLICY: Final = {"threshold": 5, "delay": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """How many statements a second a fleet costs the database, for each circuit it uses.

    While the remote is well, each process reads the row once every ``snapshot`` seconds and writes
    its tallies once every ``flush`` seconds; calls do not come into it. During an outage every
    process does the same, and whenever the delay has passed asks for the trial: one gets it, which
    is a change of state, its failure is another, and the others have read that they are too late.

    Args:
        snapshot: Seconds a snapshot is used.
        flush: Seconds between two writes of tallies.
        delay: Seconds an open circuit refuses.
        change: Statements of a change of state.
        claim: Statements of a trial asked for and not given.
    """

    snapshot: float
    flush: float
    delay: float
    change: int
    claim: int

    def healthy(self, processes: int) -> float:
        """Return the statements a second while the remote is well."""
        return processes * (1 / self.snapshot + 1 / self.flush)

    def outage(self, processes: int) -> float:
        """Return the statements a second while the remote is down."""
        trial = 2 * self.change + (processes - 1) * self.claim
        return self.healthy(processes) + trial / self.delay


def run(effort: Effort) -> Result:
    """Measure fleets of a few processes, well and in an outage, beside what the model says."""
    model = Model(
        snapshot=SNAPSHOT_SECONDS,
        flush=tasks.FLUSH_SECONDS,
        delay=POLICY["delay"],
        change=_statements_of_a_change(),
        claim=1,
    )
    peer = count_on_redis(_succeeding_on_redis) * RATE
    with crew(max(MEASURED)) as processes:
        measured = {
            size: (
                _measure(processes, size, is_down=False),
                _measure(processes, size, is_down=True),
            )
            for size in MEASURED
        }
    sizes = (*MEASURED, *MODELLED)
    return Result(
        name=NAME,
        title=f"Statements a second at the database, {RATE:,} calls a second in each process",
        ratios=tuple(_ratios(model, measured)),
        table=Table(
            columns=(
                "processes",
                "healthy, measured",
                "healthy, model",
                "outage, measured",
                "outage, model",
                "pybreaker on Redis, model",
            ),
            rows=tuple(
                (
                    str(size),
                    _told(measured, size, 0),
                    model.healthy(size),
                    _told(measured, size, 1),
                    model.outage(size),
                    size * peer,
                )
                for size in sizes
            ),
        ),
        curves=Curves(
            x="processes",
            y="statements a second",
            lines={
                "healthy, measured": tuple((size, well) for size, (well, _) in measured.items()),
                "outage, measured": tuple((size, down) for size, (_, down) in measured.items()),
                "healthy, model": tuple((size, model.healthy(size)) for size in sizes),
                "outage, model": tuple((size, model.outage(size)) for size in sizes),
                "pybreaker on Redis, healthy, model": tuple((size, size * peer) for size in sizes),
            },
        ),
    )


Measured = dict[int, tuple[float, float]]


def _told(measured: Measured, size: int, which: int) -> str | float:
    return round(measured[size][which], 1) if size in measured else ""


def _measure(processes: Crew, size: int, *, is_down: bool) -> float:
    """Return the statements a second of so many processes."""
    with circuits_on(ALIAS, CIRCUITS={NAME: POLICY}):
        circuits.get(NAME).reset()
    done = processes.run(tasks.pace, ALIAS, POLICY, RATE, SECONDS, is_down, size=size)
    calls = sum(each["calls"] for each in done)
    refused = sum(each["refused"] for each in done)
    if calls != size * RATE * SECONDS or (refused > calls / 2) != is_down:
        raise BrokenContenderError(f"A fleet of {size} made {calls} calls, {refused} refused.")
    return float(sum(each["statements"] for each in done) / SECONDS)


def _ratios(model: Model, measured: Measured) -> Iterator[Ratio]:
    for size, (well, down) in measured.items():
        yield Ratio(name=f"healthy, {size}: measured / model", value=well / model.healthy(size))
        yield Ratio(name=f"outage, {size}: measured / model", value=down / model.outage(size))


def _statements_of_a_change() -> int:
    opening = our_changes()[0]
    return len(count_change(ALIAS, opening).statements)


def _succeeding_on_redis(client: Any) -> Callable[[], object]:
    return peers.pybreaker_on_redis(client, NAME).protect(Work().succeed)


CASE: Final = Case(name=NAME, run=run, needs=("PostgreSQL", "Redis"))
