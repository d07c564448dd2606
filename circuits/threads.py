"""The few threads in which async code waits for the circuits' database.

Their number bounds the database connections that async callers use, and they are not the event
loop's own threads, so a slow database does not hold up anything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import local
from time import monotonic
from typing import Any, Final, TypeVar

from django.db import connections

T = TypeVar("T")

THREADS: Final = 4

#: Seconds after which an unused connection is renewed: the server may have closed it.
IDLE_SECONDS: Final = 60.0

_local = local()

_executor: ThreadPoolExecutor | None = None


async def in_thread(
    function: Callable[..., T], *args: Any, undo: Callable[[T], object] | None = None
) -> T:
    """Run a function that may wait for the database, off the event loop.

    It is run to its end even if the caller is cancelled meanwhile.

    Args:
        undo: Called in the thread with the result if nobody is left to receive it.
    """
    # In the caller's context, so that whoever observes calls finds the caller's span.
    future = _pool().submit(copy_context().run, _run, function, *args)
    try:
        return await asyncio.shield(asyncio.wrap_future(future))
    except asyncio.CancelledError:
        if undo is not None:
            _pool().submit(_run, _undo, future, undo)
        raise


def _undo(future: Future[T], undo: Callable[[T], object]) -> None:
    if future.exception() is None:
        undo(future.result())


def forget() -> None:
    """Start anew in a forked child, which has none of its parent's threads."""
    global _executor
    _executor = None


def _pool() -> ThreadPoolExecutor:
    global _executor
    if _executor is None:
        _executor = ThreadPoolExecutor(THREADS, thread_name_prefix="circuits")
    return _executor


def _run(function: Callable[..., T], *args: Any) -> T:
    now = monotonic()
    if now - getattr(_local, "used_at", now) > IDLE_SECONDS:
        connections.close_all()
    _local.used_at = now
    return function(*args)
