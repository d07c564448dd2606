"""A call refused by a circuit that this process knows to be open, without a query."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import circuits
from bench import peers
from bench.contenders import opened, refusing
from bench.databases import circuits_on
from bench.measure import Effort, measure
from bench.results import Result, compare
from bench.work import Expecting, RemoteDownError, Work

from .case import Case

NAME: Final = "refusal"


@contextmanager
def open_circuit(alias: str, **more: Any) -> Iterator[None]:
    """Keep the circuits on a database while the block runs, and open the one of this case."""
    policy = {"threshold": 1, "delay": peers.LONG}
    with circuits_on(alias, CIRCUITS={NAME: policy}, **more):
        circuits.get(NAME).reset()
        Expecting(circuits.protect(NAME)(Work().fail), RemoteDownError).attempt()
        yield


def run(effort: Effort) -> Result:
    """Time a refusal against those of the peers."""
    refusal = circuits.CircuitOpenError
    contenders = [
        refusing("protect", circuits.protect(NAME), refusal, lambda: open_circuit("sqlite")),
        *(
            opened(each)
            for each in (
                peers.pybreaker(threshold=1),
                peers.circuitbreaker(threshold=1),
                peers.resilient_circuit(threshold=1),
                peers.interlock(threshold=1),
                peers.nopanic(threshold=1),
            )
        ),
    ]
    timings = measure(contenders, effort)
    return Result(
        name=NAME,
        title="A call refused by an open circuit, state in memory",
        timings=timings,
        baseline="pybreaker",
        ratios=(
            compare(timings, "protect", "pybreaker", limit=0.5),
            compare(timings, "protect", "circuitbreaker"),
            compare(timings, "protect", "interlock-cb"),
            compare(timings, "protect", "nopanic"),
        ),
    )


CASE: Final = Case(name=NAME, run=run)
