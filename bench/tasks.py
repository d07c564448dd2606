"""The tasks that the processes of a :class:`bench.crew.Crew` run."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import cycle, islice
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

import circuits

from . import peers
from .crew import wait_until
from .databases import circuits_on
from .work import RemoteDownError, Tally, Work

#: Seconds between two bursts of a caller that keeps a pace.
TICK: Final = 0.01

#: Seconds between two flushes: the default of the setting.
FLUSH_SECONDS: Final = 5.0


# Failures on one hot row -------------------------------------------------------------------------


#: How many failing calls a process made, and how many of them a second.
Failed = tuple[int, float]


def fail(start: float, alias: str, name: str, seconds: float) -> Failed:
    """Make failing calls through one circuit for some seconds."""
    with circuits_on(alias, DEFAULTS={"threshold": peers.NEVER}):
        return _fail(circuits.protect(name)(Work().fail), start, seconds)


def fail_on_redis(start: float, name: str, seconds: float) -> Failed:
    """Make failing calls through one circuit of pybreaker on Redis for some seconds."""
    from redis import Redis

    with Redis.from_url(peers.redis_url()) as client:
        peer = peers.pybreaker_on_redis(client, name)
        return _fail(peer.protect(Work().fail), start, seconds)


def _fail(call: Callable[[], object], start: float, seconds: float) -> Failed:
    _failing(call)  # connects
    wait_until(start)
    made, began = 0, time.monotonic()
    while True:
        _failing(call)
        made += 1
        passed = time.monotonic() - began
        if passed >= seconds:
            return made + 1, made / passed


def _failing(call: Callable[[], object]) -> None:
    try:
        call()
    except RemoteDownError:
        return
    raise AssertionError("A call to a remote that is down came back.")


# A fleet -----------------------------------------------------------------------------------------


def pace(
    start: float,
    alias: str,
    policies: dict[str, dict[str, Any]],
    rate: int,
    seconds: float,
    is_down: bool,
) -> dict[str, int]:
    """Call a remote ``rate`` times a second for some seconds, through several circuits in turn.

    Args:
        policies: The policy of each circuit, by its name.
        is_down: Whether the remote fails.

    Returns:
        The number of ``calls`` made, those ``refused``, and the ``statements`` that they cost.
    """
    work = Work()
    calls = [circuits.protect(each)(work.fail if is_down else work.succeed) for each in policies]
    statements = _statements()
    with circuits_on(alias, FLUSH_SECONDS=FLUSH_SECONDS, CIRCUITS=policies):
        if not is_down:
            for call in calls:
                call()  # connects, and makes the row
            circuits.flush()  # makes the row of the minute
        wait_until(start)
        before = statements.total()
        made, refused = _paced(cycle(calls), start, rate, seconds)
        return {"calls": made, "refused": refused, "statements": statements.total() - before}


def _paced(
    calls: Iterator[Callable[[], object]], start: float, rate: int, seconds: float
) -> tuple[int, int]:
    made = refused = 0
    for tick in range(round(seconds / TICK)):
        wait_until(start + tick * TICK)
        for call in islice(calls, round(rate * TICK)):
            made += 1
            try:
                call()
            except circuits.CircuitOpenError:
                refused += 1
            except RemoteDownError:
                pass
    return made, refused


@cache
def _statements() -> Tally:
    """Return the tally of all statements that the threads of this process send.

    It counts those on connections that are made after the first call of this function.
    """
    tally = Tally()

    def count(execute: Callable[..., Any], *args: Any) -> Any:
        tally.tick()
        return execute(*args)

    def listen(connection: BaseDatabaseWrapper, **_: Any) -> None:
        if count not in connection.execute_wrappers:
            connection.execute_wrappers.append(count)

    connections.close_all()
    # Nothing else holds a reference to the receiver, so the signal must.
    connection_created.connect(listen, weak=False)
    return tally


# Other tasks that need a process of their own ----------------------------------------------------


def age(start: float, alias: str, callers: int, seconds: float) -> int:
    """Let a snapshot age, then make many calls at once; return how many statements they cost.

    Args:
        callers: How many calls are made at once.
        seconds: How long the snapshot ages.
    """
    work = Work()
    call = circuits.protect("aged")(work.asucceed)
    statements = _statements()

    async def run() -> int:
        await call()
        await asyncio.sleep(seconds)
        before = statements.total()
        await asyncio.gather(*(call() for _ in range(callers)))
        return statements.total() - before

    with circuits_on(alias):
        cost = asyncio.run(run())
    assert work.done() == callers + 1
    return cost


def modules_of_second_call(start: float, url: str) -> list[str]:
    """Make two calls to a URL, and return the names of the modules that the second imports."""
    with circuits_on("sqlite"):
        circuits.call("imports", url)
        before = set(sys.modules)
        circuits.call("imports", url)
        return sorted(set(sys.modules) - before)
