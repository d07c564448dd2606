"""Processes that call a remote which begins to hang."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Thread
from typing import Final

import httpx  # noqa: F401 - here, since it takes long and acall imports it at the first call

import circuits
from circuits.process import entry, results
from tests.worker import say_and_wait

#: The timeout of a call in seconds; even a busy machine counts a slow call earlier.
TIMEOUT: Final = 30.0

#: Seconds after which a process without a refusal gives up, which is before the first timeout.
PATIENCE: Final = 29.0


def _call(name: str, url: str, calls: int) -> None:
    def work() -> None:
        with suppress(circuits.RemoteCallFailedException):
            while True:
                circuits.call(name, url, timeout=TIMEOUT)

    _in_threads(calls, work)


def _acall(name: str, url: str, calls: int) -> None:
    async def work() -> None:
        with suppress(circuits.RemoteCallFailedException):
            while True:
                await circuits.acall(name, url, timeout=TIMEOUT)

    async def work_together() -> None:
        await asyncio.gather(*(work() for _ in range(calls)))

    _in_threads(1, lambda: asyncio.run(work_together()))


def _read(name: str, url: str, calls: int) -> None:
    """Read answers whose head arrives at once and whose body hangs."""

    def work() -> None:
        with suppress(circuits.RemoteCallFailedException):
            while True:
                assert circuits.call(name, f"{url}/body", timeout=TIMEOUT, stream=True).content

    _in_threads(calls, work)


def _in_threads(number: int, work: Callable[[], None]) -> None:
    for _ in range(number):
        Thread(target=work, daemon=True).start()


#: The ways to make several calls at once, again and again, in the background.
WAYS: Final[Mapping[str, Callable[[str, str, int], None]]] = {
    "sync": _call,
    "async": _acall,
    "body": _read,
}


def refused_at(name: str, url: str, way: str, calls: int) -> float:
    """Keep making calls, and return when a further call was first refused.

    Args:
        way: How the calls are made, one of :data:`WAYS`.
        calls: How many calls are under way at once.

    Returns:
        The moment in seconds since 1970; infinity if none was refused.
    """

    WAYS[way](name, url, calls)
    say_and_wait("calling")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(0.01)
        try:
            # The outcome is nothing, so this call does not count for or against the remote.
            results.release(entry.admit(name))
        except circuits.CircuitOpenError:
            return time.time()
    return float("inf")
