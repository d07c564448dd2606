"""A coroutine that succeeds through a closed circuit, awaited in a running loop."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import circuits
from bench import peers
from bench.contenders import succeeding_async, unprotected
from bench.databases import circuits_on
from bench.measure import Effort, measure
from bench.results import Result, compare

from .case import Case

NAME: Final = "coroutine"


def run(effort: Effort) -> Result:
    """Time ``protect`` on ``async def`` against the peers that support coroutines."""
    within = partial(circuits_on, "sqlite")
    with asyncio.Runner() as runner, peers.purgatory_on_redis(runner) as on_redis:
        others = (
            peers.aiobreaker(),
            peers.purgatory(),
            peers.circuitbreaker(),
            peers.interlock(),
            peers.nopanic(),
            on_redis,
        )
        timings = measure(
            [
                succeeding_async("no breaker", unprotected, runner),
                succeeding_async("protect", circuits.protect(NAME), runner, within),
                *(succeeding_async(each.name, each.protect, runner) for each in others),
            ],
            effort,
        )
    return Result(
        name=NAME,
        title="A coroutine that succeeds, closed circuit, each awaited in one running loop",
        timings=timings,
        baseline="aiobreaker",
        ratios=tuple(
            compare(timings, "protect", name)
            for name in (
                "aiobreaker",
                "purgatory",
                "interlock-cb",
                "nopanic",
                "purgatory on Redis",
            )
        ),
    )


CASE: Final = Case(name=NAME, run=run, needs=("Redis",))
