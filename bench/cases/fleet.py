"""The statements that a fleet sends to its database: measured for small fleets, else modelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import circuits
from bench import peers, tasks
from bench.counting import count, count_on_redis
from bench.crew import Crew, crew
from bench.databases import circuits_on
from bench.measure import BrokenContenderError, Effort
from bench.results import Curves, Ratio, Result, Table
from bench.work import Expecting, Work, forbidden

from .case import Case
from .change import count_change, our_changes
from .refusal import NAME as REFUSED
from .refusal import open_circuit

NAME: Final = "fleet"

ALIAS: Final = "postgres"

#: Calls a second that each process makes.
RATE: Final = 1000

#: The numbers of processes in the fleets that are measured, and in those that are only modelled.
MEASURED: Final = (1, 2, 4, 8)
MODELLED: Final = (16, 32, 64)

#: How many circuits each process of a fleet uses.
CIRCUITS: Final = (1, 5, 20)

#: Seconds of a measurement, in which every process writes its tallies once, whenever it began.
SECONDS: Final = tasks.FLUSH_SECONDS

SNAPSHOT_SECONDS: Final = 0.2

#: The delay is so short that a measurement sees several trials.
POLICY: Final = {"threshold": 5, "delay": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Predicts how many statements a second a fleet costs its database.

    While the remote is well, each process reads all rows with one statement every ``snapshot``
    seconds and writes the tallies of each circuit every ``flush`` seconds, however many calls it
    makes. During an outage it does the same, and writes how many calls each opening has refused. In
    addition, whenever the delay of a circuit has passed, all processes ask for its trial. One gets
    it, which is a change of state, and its failure is another; the others read that they are too
    late.

    Args:
        snapshot: Seconds for which a snapshot is used.
        flush: Seconds between two flushes of tallies.
        delay: Seconds for which an open circuit refuses.
        tally: Statements that write the tallies of a circuit.
        refusals: Statements that write the refusals of an opening.
        change: Statements that a change of state takes.
        claim: Statements that a process sends when it asks for a trial and does not get it.
    """

    snapshot: float
    flush: float
    delay: float
    tally: int
    refusals: int
    change: int
    claim: int

    def healthy(self, processes: int, circuits: int = 1) -> float:
        """Return the statements a second while the remote is well."""
        return processes * (1 / self.snapshot + circuits * self.tally / self.flush)

    def outage(self, processes: int, circuits: int = 1) -> float:
        """Return the statements a second while the remote is down."""
        trial = 2 * self.change + (processes - 1) * self.claim
        # Each flush writes the refusals of the present opening, and those of earlier ones if any.
        written = processes * self.refusals / min(self.delay, self.flush)
        return self.healthy(processes, circuits) + circuits * (trial / self.delay + written)


#: The statements a second, while the remote is well and while it is down, by the numbers of
#: processes and of circuits.
Measured = dict[tuple[int, int], tuple[float, float]]


def run(effort: Effort) -> Result:
    """Measure small fleets, while all is well and in an outage, and compare them with the model."""
    tally = _statements_of_a_tally()
    model = Model(
        snapshot=SNAPSHOT_SECONDS,
        flush=tasks.FLUSH_SECONDS,
        delay=POLICY["delay"],
        tally=tally,
        refusals=_statements_of_a_refusal() - tally,
        change=_statements_of_a_change(),
        claim=1,
    )
    peer = count_on_redis(_succeeding_on_redis) * RATE
    with crew(max(MEASURED)) as processes:
        measured = {
            (size, number): (
                _measure(processes, size, number, is_down=False),
                _measure(processes, size, number, is_down=True),
            )
            for number in CIRCUITS
            for size in MEASURED
        }
    return Result(
        name=NAME,
        title=f"Statements a second at the database, {RATE:,} calls a second in each process",
        ratios=tuple(_ratios(model, measured)),
        table=_table(model, measured, peer),
        curves=_curves(model, measured, peer),
    )


def _table(model: Model, measured: Measured, peer: float) -> Table:
    return Table(
        columns=(
            "circuits",
            "processes",
            "healthy, measured",
            "healthy, model",
            "outage, measured",
            "outage, model",
            "pybreaker on Redis, model",
        ),
        rows=tuple(
            (
                number,
                size,
                _cell(measured, size, number, 0),
                model.healthy(size, number),
                _cell(measured, size, number, 1),
                model.outage(size, number),
                size * peer,
            )
            for number in CIRCUITS
            for size in (*MEASURED, *MODELLED)
        ),
    )


def _cell(measured: Measured, size: int, number: int, which: int) -> str | float:
    return round(measured[size, number][which], 1) if size in MEASURED else ""


def _curves(model: Model, measured: Measured, peer: float) -> Curves:
    sizes = (*MEASURED, *MODELLED)
    lines: dict[str, tuple[tuple[float, float], ...]] = {
        "pybreaker on Redis, healthy, model": tuple((size, size * peer) for size in sizes)
    }
    for number in (min(CIRCUITS), max(CIRCUITS)):
        of = _circuits(number)
        for which, (state, of_model) in enumerate(
            {"healthy": model.healthy, "outage": model.outage}.items()
        ):
            lines[f"{state}, {of}, measured"] = tuple(
                (size, measured[size, number][which]) for size in MEASURED
            )
            lines[f"{state}, {of}, model"] = tuple((size, of_model(size, number)) for size in sizes)
    return Curves(x="processes", y="statements a second", lines=lines)


def _measure(processes: Crew, size: int, number: int, *, is_down: bool) -> float:
    """Return the statements a second of ``size`` processes that use ``number`` circuits."""
    policies = {f"{NAME} {each}": POLICY for each in range(number)}
    with circuits_on(ALIAS, CIRCUITS=policies):
        for name in policies:
            circuits.get(name).reset()
    done = processes.run(tasks.pace, ALIAS, policies, RATE, SECONDS, is_down, size=size)
    calls = sum(each["calls"] for each in done)
    refused = sum(each["refused"] for each in done)
    if calls != size * RATE * SECONDS or (refused > calls / 2) != is_down:
        raise BrokenContenderError(f"A fleet of {size} made {calls} calls, {refused} refused.")
    return float(sum(each["statements"] for each in done) / SECONDS)


def _ratios(model: Model, measured: Measured) -> Iterator[Ratio]:
    for (size, number), (well, down) in measured.items():
        processes = "1 process" if size == 1 else f"{size} processes"
        of = f"{processes}, {_circuits(number)}: measured / model"
        yield Ratio(name=f"healthy, {of}", value=well / model.healthy(size, number))
        yield Ratio(name=f"outage, {of}", value=down / model.outage(size, number))


def _circuits(number: int) -> str:
    return "1 circuit" if number == 1 else f"{number} circuits"


def _statements_of_a_change() -> int:
    opening = our_changes()[0]
    return len(count_change(ALIAS, opening).statements)


def _statements_of_a_tally() -> int:
    return _flushed(circuits.protect(NAME)(Work().succeed), partial(circuits_on, ALIAS))


def _statements_of_a_refusal() -> int:
    """Return the statements that write the refusals of one opening, with the tallies."""
    refused = Expecting(circuits.protect(REFUSED)(forbidden), circuits.CircuitOpenError)
    return _flushed(refused.attempt, partial(open_circuit, ALIAS))


def _flushed(
    call: Callable[[], object], within: Callable[[], AbstractContextManager[object]]
) -> int:
    """Return the statements that a flush sends after a call."""

    def call_and_flush() -> None:
        call()
        circuits.flush()

    # A flush in a new minute sends one more, so count twice.
    return min(len(count(ALIAS, call_and_flush, within).statements) for _ in range(2))


def _succeeding_on_redis(client: Any) -> Callable[[], object]:
    return peers.pybreaker_on_redis(client, NAME).protect(Work().succeed)


CASE: Final = Case(name=NAME, run=run, needs=("PostgreSQL", "Redis"))
