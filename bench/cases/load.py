"""Many callers in one process: concurrent coroutines, threads, and a snapshot that ages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import httpx

import circuits
from bench import tasks
from bench.contenders import Protect, unprotected
from bench.crew import crew
from bench.databases import circuits_on, close
from bench.measure import Contender, Effort, Timings, gathering, measure, ratio, threading
from bench.remote import serving
from bench.results import Ratio, Result, Table
from bench.work import Tally, Work

from .case import Case

NAME: Final = "load"

CALLERS: Final = 1000

THREADS: Final = 16

#: How many calls the threads share; enough to make their start negligible.
CALLS: Final = 160_000

#: Ages in seconds of a snapshot of 0.2 seconds: one that has aged, and one too old to use.
AGES: Final = (0.3, 0.6)


def run(effort: Effort) -> Result:
    """Time concurrent callers with and without a breaker; count the queries of an aged snapshot."""
    once = replace(effort, least_batches=1)
    timings = {**_concurrent(once), **_threaded(once)}
    with crew(1) as process:
        queries = [process.run(tasks.age, "sqlite", CALLERS, age)[0] for age in AGES]
    return Result(
        name=NAME,
        title=f"{CALLERS:,} concurrent calls over HTTP, and {THREADS} threads on one circuit",
        timings=timings,
        baseline=_at_once("httpx"),
        ratios=(
            Ratio(
                name="acall / httpx",
                value=ratio(timings, _at_once("acall"), _at_once("httpx")),
                limit=1.1,
            ),
            Ratio(
                name=f"slowdown by {THREADS} threads, protect / no breaker",
                value=_loss(timings, "protect") / _loss(timings, "no breaker"),
                limit=1.1,
            ),
            *(
                Ratio(name=f"queries of a snapshot {age} s old", value=count, limit=1)
                for age, count in zip(AGES, queries, strict=True)
            ),
        ),
        table=Table(
            columns=("snapshot of 0.2 s, aged", "calls at once", "queries"),
            rows=tuple(
                (f"{age} s", CALLERS, count) for age, count in zip(AGES, queries, strict=True)
            ),
        ),
    )


def _concurrent(effort: Effort) -> Timings:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    with serving() as url, asyncio.Runner() as runner:
        client = httpx.AsyncClient(limits=limits, timeout=10, follow_redirects=True)
        acall = partial(circuits.acall, NAME, url)
        timings = measure(
            [
                _bursting("httpx", partial(client.get, url), runner),
                _bursting("acall", acall, runner),
            ],
            effort,
        )
        runner.run(client.aclose())
    return timings


def _bursting(name: str, get: Callable[[], Awaitable[Any]], runner: asyncio.Runner) -> Contender:
    tally = Tally()

    async def call() -> None:
        response = await get()
        if response.text == "ok":
            tally.tick()

    return Contender(
        name=_at_once(name),
        time=gathering(call, runner),
        done=tally.total,
        within=partial(circuits_on, "sqlite"),
        batch=CALLERS,
    )


def _threaded(effort: Effort) -> Timings:
    return measure(
        [
            _sharing(name, protect, threads)
            for name, protect in (("no breaker", unprotected), ("protect", circuits.protect(NAME)))
            for threads in (1, THREADS)
        ],
        effort,
    )


def _sharing(name: str, protect: Protect, threads: int) -> Contender:
    work = Work()
    return Contender(
        name=_in_threads(name, threads),
        time=threading(protect(work.succeed), threads, close),
        done=work.done,
        within=partial(circuits_on, "sqlite"),
        batch=CALLS,
    )


def _loss(timings: Timings, name: str) -> float:
    """Return how many times as long a call takes with many threads as with one."""
    return ratio(timings, _in_threads(name, THREADS), _in_threads(name, 1))


def _at_once(name: str) -> str:
    return f"{name}, {CALLERS:,} at once"


def _in_threads(name: str, threads: int) -> str:
    return f"{name}, {threads} threads" if threads > 1 else f"{name}, 1 thread"


CASE: Final = Case(name=NAME, run=run)
