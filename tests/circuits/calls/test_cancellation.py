"""A caller's own timeout around a call that hangs: it counts only where the call is overdue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest

import circuits
from circuits.models import Circuit
from circuits.process.threads import in_thread
from tests.clock import Clock
from tests.concurrency import wait_until
from tests.factories import CircuitFactory
from tests.remotes import silent_remote

pytestmark = pytest.mark.usefixtures("committed")

NAME = "payments"

#: Seconds after which a call is overdue, and a time that is surely longer.
OVERDUE, LONGER = 0.2, 1.5

#: Seconds that no test takes.
NEVER = 600.0


async def by_acall(url: str) -> None:
    await circuits.acall(NAME, url, timeout=NEVER)


async def by_block(url: str) -> None:
    async with circuits.guard(NAME), httpx.AsyncClient(timeout=NEVER) as client:
        await client.get(url)


async def by_function(url: str) -> None:
    @circuits.protect(NAME)
    async def get() -> None:
        async with httpx.AsyncClient(timeout=NEVER) as client:
            await client.get(url)

    await get()


async def by_transport(url: str) -> None:
    transport = circuits.AsyncCircuitTransport(name=NAME)
    async with httpx.AsyncClient(transport=transport, timeout=NEVER) as client:
        await client.get(url)


async def wait_for(call: Awaitable[None], seconds: float) -> None:
    await asyncio.wait_for(call, seconds)


async def timeout(call: Awaitable[None], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        await call


async def row() -> Any:
    await in_thread(circuits.flush)
    return await in_thread(lambda: Circuit.objects.get(name=NAME))


async def make(**fields: Any) -> None:
    await in_thread(lambda: CircuitFactory(name=NAME, **fields))


WAYS = pytest.mark.parametrize("way", [by_acall, by_block, by_function, by_transport])
LIMITS = pytest.mark.parametrize("limit", [wait_for, timeout])

Way = Callable[[str], Awaitable[None]]
Limit = Callable[[Awaitable[None], float], Awaitable[None]]


@WAYS
@LIMITS
async def test_a_call_that_was_overdue_counts_as_slow_once(way: Way, limit: Limit) -> None:
    await make(slow_call_seconds=OVERDUE, max_concurrent=1)
    with silent_remote() as silent, pytest.raises(TimeoutError):
        await limit(way(silent.url), LONGER)
    counted = await row()
    assert (counted.failure_count, counted.total_failures, counted.total_successes) == (1, 1, 0)
    assert counted.last_error.startswith("SlowCall")
    async with circuits.guard(NAME):
        pass  # its place is free


@WAYS
@LIMITS
@pytest.mark.parametrize("slow", [None, NEVER])
async def test_a_call_that_was_not_counts_as_nothing(
    way: Way, limit: Limit, slow: float | None
) -> None:
    await make(slow_call_seconds=slow or 0, max_concurrent=1)
    with silent_remote() as silent, pytest.raises(TimeoutError):
        await limit(way(silent.url), OVERDUE)
    counted = await row()
    assert (counted.failure_count, counted.total_failures, counted.total_successes) == (0, 0, 0)
    async with circuits.guard(NAME):
        pass


@WAYS
async def test_it_counts_where_nobody_has_looked_after_it(way: Way, clock: Clock) -> None:
    """The clock stands still, so nothing counts the call before its outcome does."""
    await make(slow_call_seconds=OVERDUE)
    with silent_remote() as silent:
        call = asyncio.ensure_future(way(silent.url))
        await asyncio.to_thread(wait_until, lambda: silent.requests)
        clock.pass_by(OVERDUE)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    counted = await row()
    assert (counted.failure_count, counted.total_failures) == (1, 1)


@WAYS
async def test_by_the_rate_it_is_slow_and_not_failed(way: Way) -> None:
    await make(slow_call_seconds=OVERDUE, strategy="rate", minimum_calls=1000)
    with silent_remote() as silent, suppress(TimeoutError):
        await wait_for(way(silent.url), LONGER)
    counted = await row()
    assert [bucket[1:] for bucket in counted.window["buckets"]] == [[1, 0, 1]]
    assert (counted.total_failures, counted.total_successes) == (0, 0)


@WAYS
@pytest.mark.parametrize(("slow", "state"), [(OVERDUE, "open"), (NEVER, "half_open")])
async def test_a_trial_that_is_given_up_opens_again_only_if_it_was_overdue(
    way: Way, slow: float, state: str
) -> None:
    await make(expired=True, slow_call_seconds=slow, delay=NEVER)
    with silent_remote() as silent, suppress(TimeoutError):
        await wait_for(way(silent.url), LONGER)
    counted = await row()
    assert (counted.state, counted.leases) == (state, [])


async def test_calls_that_are_all_given_up_open_the_circuit_of_a_remote_that_hangs() -> None:
    await make(slow_call_seconds=OVERDUE, threshold=3, delay=NEVER)
    with silent_remote() as silent:
        for _ in range(3):
            with suppress(TimeoutError):
                await wait_for(by_acall(silent.url), LONGER)
    assert (await row()).state == "open"
