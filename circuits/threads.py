"""The few threads in which async code waits for the circuits' database.

Their number bounds the database connections that async callers use, and they are not the event
loop's own threads, so a slow database does not hold up anything else.
"""

from __future__ import annotations

import asyncio
from asyncio import Task
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from threading import local
from time import monotonic
from typing import Any, Final, TypeVar, cast

from django.db import connections

T = TypeVar("T")

THREADS: Final = 4

#: Seconds after which an unused connection is renewed: the server may have closed it.
IDLE_SECONDS: Final = 60.0

_local = local()

_executor: ThreadPoolExecutor | None = None

_shared: Final[dict[tuple[asyncio.AbstractEventLoop, Hashable], Task[object]]] = {}


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


async def in_thread_for_all(key: Hashable, function: Callable[..., T], *args: Any) -> T:
    """Run a function off the event loop, once for all of its tasks that ask meanwhile.

    Args:
        key: What they ask for; who asks for the same waits for the call under way.
    """
    loop = asyncio.get_running_loop()
    task = _shared.get((loop, key))
    if task is None:
        task = _shared[loop, key] = loop.create_task(in_thread(function, *args))
        task.add_done_callback(partial(_end_of_shared, (loop, key)))
    # If one of those who wait is cancelled, the others still wait.
    return cast(T, await asyncio.shield(task))


def _end_of_shared(key: tuple[asyncio.AbstractEventLoop, Hashable], task: Task[object]) -> None:
    _shared.pop(key, None)
    if not task.cancelled():
        task.exception()  # is raised by those who wait; if nobody does any more, so be it


def _undo(future: Future[T], undo: Callable[[T], object]) -> None:
    if future.exception() is None:
        undo(future.result())


def forget() -> None:
    """Start anew in a forked child, which has none of its parent's threads."""
    global _executor
    _executor = None
    _shared.clear()


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
