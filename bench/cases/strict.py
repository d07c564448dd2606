"""Calls with ``SNAPSHOT_SECONDS = 0``, each of which reads its row by an index."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any, Final

import circuits
from bench import drivers, peers
from bench.contenders import opened, refusing, succeeding, succeeding_async
from bench.counting import Counter, count, count_on_redis
from bench.databases import LABELS, circuits_on
from bench.measure import Contender, Effort, calling, measure
from bench.results import Ratio, Result, Table, compare
from bench.work import Expecting, RemoteDownError, Tally, Work, forbidden

from .case import Case
from .refusal import NAME as REFUSED
from .refusal import open_circuit

NAME: Final = "strict"


def run(effort: Effort) -> Result:
    """Count the reads, and time the calls against the bare drivers and the peers on a server."""
    counts = {alias: (_count_success(alias), _count_refusal(alias)) for alias in LABELS}
    with asyncio.Runner() as runner, ExitStack() as stack:
        timings = measure([*_ours(stack, counts), *_theirs(stack, runner)], effort)
    return Result(
        name=NAME,
        title="Every call asks the store: SNAPSHOT_SECONDS = 0, closed and open circuit",
        timings=timings,
        baseline="pybreaker on Redis",
        ratios=(
            compare(timings, "protect on PostgreSQL", "pybreaker on Redis", limit=1.0),
            *(
                compare(
                    timings,
                    f"protect on {label}",
                    f"the driver's read on {label}",
                    # SQLite answers in the process itself, faster than Django's cursor is made.
                    limit=None if label == "SQLite" else 2.0,
                )
                for label in LABELS.values()
            ),
            *_count_ratios(counts),
        ),
        table=Table(
            columns=("store", "statements", "round trips", "when refused", "round trips"),
            rows=(
                *(
                    (
                        LABELS[alias],
                        len(success.statements),
                        success.trips,
                        len(refusal.statements),
                        refusal.trips,
                    )
                    for alias, (success, refusal) in counts.items()
                ),
                *(
                    (
                        name,
                        "",
                        count_on_redis(partial(_succeeding_on_redis, peer)),
                        "",
                        count_on_redis(partial(_refusing_on_redis, peer)),
                    )
                    for name, peer in _ON_REDIS.items()
                ),
            ),
        ),
    )


Counts = dict[str, tuple[Counter, Counter]]


def _count_ratios(counts: Counts) -> Iterator[Ratio]:
    for alias, (success, refusal) in counts.items():
        label = LABELS[alias]
        for kind, counter in (("call", success), ("refusal", refusal)):
            yield Ratio(name=f"queries per {kind} on {label}", value=counter.trips, limit=1)


def _strict(alias: str) -> Callable[[], AbstractContextManager[None]]:
    return partial(circuits_on, alias, SNAPSHOT_SECONDS=0)


def _strict_open(alias: str) -> Callable[[], AbstractContextManager[None]]:
    return partial(open_circuit, alias, SNAPSHOT_SECONDS=0)


def _count_success(alias: str) -> Counter:
    work = Work()
    return count(alias, circuits.protect(NAME)(work.succeed), _strict(alias))


def _count_refusal(alias: str) -> Counter:
    refused = Expecting(circuits.protect(REFUSED)(forbidden), circuits.CircuitOpenError)
    return count(alias, refused.attempt, _strict_open(alias))


_ON_REDIS: Final[dict[str, Callable[..., peers.Peer]]] = {
    "pybreaker on Redis": peers.pybreaker_on_redis,
    "nopanic on Redis": peers.nopanic_on_redis,
}


def _succeeding_on_redis(make: Callable[..., peers.Peer], client: Any) -> Callable[[], object]:
    return make(client, "counted").protect(Work().succeed)


def _refusing_on_redis(make: Callable[..., peers.Peer], client: Any) -> Callable[[], object]:
    peer = make(client, "counted open", threshold=1)
    Expecting(peer.protect(Work().fail), RemoteDownError).attempt()
    return Expecting(peer.protect(forbidden), peer.refusal).attempt


def _ours(stack: ExitStack, counts: Counts) -> Iterator[Contender]:
    for alias, label in LABELS.items():
        yield succeeding(f"protect on {label}", circuits.protect(NAME), _strict(alias))
        yield refusing(
            f"protect on {label}, refused",
            circuits.protect(REFUSED),
            circuits.CircuitOpenError,
            _strict_open(alias),
        )
        sql, params = counts[alias][0].only_statement()
        read = stack.enter_context(drivers.reading(alias, sql, params))
        yield _reading(f"the driver's read on {label}", read)


def _reading(name: str, read: drivers.Read) -> Contender:
    tally = Tally()
    tick = tally.tick

    def call() -> None:
        if read() is not None:
            tick()

    return Contender(name=name, time=calling(call), done=tally.total)


def _theirs(stack: ExitStack, runner: asyncio.Runner) -> Iterator[Contender]:
    redis = stack.enter_context(peers.redis_client())
    on_redis = peers.pybreaker_on_redis(redis, "closed")
    yield succeeding(on_redis.name, on_redis.protect)
    nopanic = peers.nopanic_on_redis(redis, "closed")
    yield succeeding(nopanic.name, nopanic.protect)
    resilient = peers.resilient_circuit_on_postgres()
    yield succeeding(resilient.name, resilient.protect)
    yield _refused(peers.pybreaker_on_redis(redis, "open", threshold=1))
    yield _refused(peers.nopanic_on_redis(redis, "open", threshold=1))
    purgatory = stack.enter_context(peers.purgatory_on_redis(runner))
    yield succeeding_async(purgatory.name, purgatory.protect, runner)


def _refused(peer: peers.Peer) -> Contender:
    contender = opened(peer)
    return Contender(name=f"{peer.name}, refused", time=contender.time, done=contender.done)


CASE: Final = Case(name=NAME, run=run, needs=("PostgreSQL", "MariaDB", "Redis"))
