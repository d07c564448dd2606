"""Eight processes make failing calls through one circuit: how fast, and is each counted once?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from statistics import median
from typing import Any, Final

from bench import peers, tasks
from bench.crew import Crew, crew
from bench.databases import LABELS, circuits_on
from bench.measure import Effort
from bench.results import Ratio, Result, Table

from .case import Case

NAME: Final = "contention"

PROCESSES: Final = 8

#: The shortest turn in seconds: eight processes on few processors each have their pauses.
LEAST_SECONDS: Final = 0.5

PEER: Final = "pybreaker on Redis"


@dataclass(slots=True, kw_only=True)
class Side:
    """One of the stores that are compared.

    Args:
        fail: Lets all processes make failing calls for some seconds.
        counted: Returns how many failures the store has counted.
    """

    name: str
    fail: Callable[[float], list[tasks.Failed]]
    counted: Callable[[], int]
    rates: list[float] = field(default_factory=list)
    made: int = 0

    def turn(self, seconds: float) -> None:
        """Let all processes fail for some seconds, and add up what they made."""
        done = self.fail(seconds)
        self.made += sum(made for made, _ in done)
        self.rates.append(sum(rate for _, rate in done))


def run(effort: Effort) -> Result:
    """Measure the failures a second, and count those that were lost or counted twice."""
    seconds = max(LEAST_SECONDS, 5 * effort.turn_seconds)
    with crew(PROCESSES) as processes, peers.redis_client() as redis:
        sides = [*(_ours(processes, alias) for alias in LABELS), _theirs(processes, redis)]
        for _ in range(effort.rounds):
            for side in Random().sample(sides, len(sides)):
                side.turn(seconds)
        rows = [(each.name, median(each.rates), each.made, each.counted()) for each in sides]
    rates = {each.name: each.rates for each in sides}
    return Result(
        name=NAME,
        title=f"Failures of {PROCESSES} processes at once on one circuit that stays closed",
        ratios=(
            *(
                Ratio(
                    name=f"rate of {PEER} / rate on {label}",
                    value=median(
                        theirs / ours
                        for theirs, ours in zip(rates[PEER], rates[label], strict=True)
                    ),
                )
                for label in LABELS.values()
            ),
            *(
                Ratio(
                    name=f"failures lost or counted twice on {name}",
                    value=abs(made - counted),
                    limit=0 if name != PEER else None,
                )
                for name, _, made, counted in rows
            ),
        ),
        table=Table(
            columns=("store", "failures a second", "made", "counted", "lost or extra"),
            rows=tuple(
                (name, round(rate), made, counted, abs(made - counted))
                for name, rate, made, counted in rows
            ),
        ),
    )


def _ours(processes: Crew, alias: str) -> Side:
    def counted() -> int:
        from circuits.models import Circuit

        with circuits_on(alias):
            return Circuit.objects.get(name=NAME).total_failures

    return Side(
        name=LABELS[alias],
        fail=lambda seconds: processes.run(tasks.fail, alias, NAME, seconds),
        counted=counted,
    )


def _theirs(processes: Crew, redis: Any) -> Side:
    storage = peers.pybreaker_storage(redis, NAME)
    return Side(
        name=PEER,
        fail=lambda seconds: processes.run(tasks.fail_on_redis, NAME, seconds),
        counted=lambda: int(storage.counter),
    )


CASE: Final = Case(name=NAME, run=run, needs=("PostgreSQL", "MariaDB", "Redis"))
