"""A call that fails through a closed circuit without opening it: one UPDATE."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Final

import circuits
from bench import peers
from bench.contenders import failing
from bench.counting import Counter, count, count_on_redis
from bench.databases import LABELS, circuits_on
from bench.measure import Effort, measure
from bench.results import Ratio, Result, Table, compare
from bench.work import Expecting, RemoteDownError, Work

from .case import Case

NAME: Final = "failure"


def run(effort: Effort) -> Result:
    """Count the statements of a failure, and time failures against those of the peers."""
    counts = {alias: _count(alias) for alias in LABELS}
    on_redis = {name: count_on_redis(failing) for name, failing in _FAILING_ON_REDIS.items()}
    with ExitStack() as stack:
        redis = stack.enter_context(peers.redis_client())
        others = (
            peers.pybreaker(),
            peers.circuitbreaker(),
            peers.pybreaker_on_redis(redis, NAME),
            peers.resilient_circuit_on_postgres(),
            peers.interlock(peers.NEVER),
            peers.interlock_on_redis(redis, NAME, peers.NEVER),
            peers.nopanic(peers.NEVER),
            peers.nopanic_on_redis(redis, NAME, peers.NEVER),
        )
        timings = measure(
            [
                *(
                    failing(f"protect on {label}", circuits.protect(NAME), _within(alias))
                    for alias, label in LABELS.items()
                ),
                *(failing(each.name, each.protect) for each in others),
            ],
            effort,
        )
    return Result(
        name=NAME,
        title="A call that fails and opens nothing, closed circuit",
        timings=timings,
        baseline="pybreaker on Redis",
        ratios=(
            *(
                compare(
                    timings,
                    f"protect on {label}",
                    "pybreaker on Redis",
                    limit=1.0 if alias == "postgres" else None,
                )
                for alias, label in LABELS.items()
            ),
            *(
                Ratio(
                    name=f"statements per failure on {LABELS[alias]}",
                    value=len(counter.statements),
                    limit=1,
                )
                for alias, counter in counts.items()
            ),
        ),
        table=Table(
            columns=("store", "statements", "round trips"),
            rows=(
                *(
                    (LABELS[alias], len(counter.statements), counter.trips)
                    for alias, counter in counts.items()
                ),
                *((name, "", trips) for name, trips in on_redis.items()),
            ),
        ),
    )


def _within(alias: str) -> Callable[[], AbstractContextManager[None]]:
    policy = {"threshold": peers.NEVER}
    # The snapshot stays fresh for the whole turn, so that no read is timed with the failure.
    return partial(circuits_on, alias, SNAPSHOT_SECONDS=60, CIRCUITS={NAME: policy})


def _count(alias: str) -> Counter:
    expecting = Expecting(circuits.protect(NAME)(Work().fail), RemoteDownError)
    return count(alias, expecting.attempt, _within(alias))


def _failing(peer: peers.Peer) -> Callable[[], object]:
    return Expecting(peer.protect(Work().fail), RemoteDownError).attempt


_FAILING_ON_REDIS: Final[dict[str, Callable[[object], Callable[[], object]]]] = {
    "pybreaker on Redis": lambda client: _failing(peers.pybreaker_on_redis(client, "counted")),
    "nopanic on Redis": lambda client: _failing(
        peers.nopanic_on_redis(client, "counted", peers.NEVER)
    ),
}


CASE: Final = Case(name=NAME, run=run, needs=("PostgreSQL", "MariaDB", "Redis"))
