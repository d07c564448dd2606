"""The threads in which async code waits for the circuits' database.

Their number limits the database connections of async callers. They are not the event loop's own
threads, so a slow database holds up nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from threading import local
from time import monotonic
from typing import Any, Final, TypeVar, cast

from django.db import connections

from .. import once_a_minute
from ..storage.errors import FORESEEN
from . import loops

logger = logging.getLogger("circuits")

T = TypeVar("T")

THREADS: Final = 4

#: Seconds after which an unused connection is reopened, since the server may have closed it.
IDLE_SECONDS: Final = 60.0

_local = local()

_executor: ThreadPoolExecutor | None = None

#: The questions being asked at present, by event loop and key.
_shared: Final[dict[tuple[Hashable, Hashable], Future[Any]]] = {}


async def in_thread(
    function: Callable[..., T], *args: Any, undo: Callable[[T], object] | None = None
) -> T:
    """Run a function that may wait for the database in a thread, and return its result.

    The function runs to its end even if the caller is cancelled.

    Args:
        undo: Called in a thread with the result if the caller was cancelled.
    """
    future = _submit(function, *args)
    try:
        await loops.wait(future)
    except BaseException:  # the caller was cancelled
        future.add_done_callback(_log_unheard)
        if undo is not None:
            _pool().submit(_run, _undo, future, undo).add_done_callback(_log_unheard)
        raise
    return future.result()


def wait_in_thread(function: Callable[..., T], *args: Any) -> T:
    """Run a function in a thread and wait for its result, for sync code in an event loop.

    The loop is blocked meanwhile, as it is by the call itself, which is not async either.
    """
    return _submit(function, *args).result()


def hand_over(function: Callable[..., object], *args: Any) -> None:
    """Have a thread run a function without waiting for it. Unforeseen exceptions are logged."""
    _submit(function, *args).add_done_callback(_log_unheard)


async def in_thread_for_all(key: Hashable, function: Callable[..., T], *args: Any) -> T:
    """Run a function in a thread, once for all tasks of the event loop that ask meanwhile.

    Args:
        key: Tasks that ask with the same key wait for the same result.
    """
    loop = loops.current()
    future = _shared.get((loop, key))
    if future is None:
        future = _shared[loop, key] = _submit(function, *args)
        future.add_done_callback(partial(_end_of_shared, loop, key))
    await loops.wait(future)  # a cancelled task leaves the others waiting
    return cast(T, future.result())


def _submit(function: Callable[..., T], *args: Any) -> Future[T]:
    # In the caller's context, so that observers of calls find the caller's span.
    return _pool().submit(copy_context().run, _run, function, *args)


def _end_of_shared(loop: Hashable, key: Hashable, future: Future[Any]) -> None:
    _log_unheard(future)  # there may be no task left that waits
    forget_it = partial(_shared.pop, (loop, key), None)
    # Forgotten in the loop, so that tasks that are about to ask can still share this answer.
    if not loops.soon(loop, forget_it):
        forget_it()


def _log_unheard(future: Future[Any]) -> None:
    """Log an unforeseen exception that no caller is left to receive."""
    error = None if future.cancelled() else future.exception()
    # The store logs an outage itself, and a refusal needs no log line.
    is_foreseen = error is None or isinstance(error, FORESEEN)
    if not is_foreseen and once_a_minute.is_due("background"):
        logger.error("A circuit could not be asked or told in the background.", exc_info=error)


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
