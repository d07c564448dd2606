"""Settles calls whose answer was dropped: neither read to its end nor closed.

Only the garbage collector notices that. It may run at any line, even while this thread holds a
circuit's lock. So nothing is settled there and then. The work is put into a queue, which is safe
anywhere, and a thread of its own does it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any
from weakref import finalize

from django.db import connections

from ..process import forks

logger = logging.getLogger("circuits")

Work = Callable[[], object]

_queue: SimpleQueue[Work] = SimpleQueue()
_thread: Thread | None = None


def when_dropped(thing: object, work: Work) -> finalize[..., Any]:
    """Have ``work`` done soon after ``thing`` is garbage, unless the finalizer is detached.

    Args:
        work: The function to call. If it referred to ``thing``, that would never become garbage.
    """
    _ensure_running()
    finalizer = finalize(thing, _queue.put, work)
    # A process that ends in the middle of an answer does not know its outcome, and leases expire.
    finalizer.atexit = False
    return finalizer


def forget() -> None:
    """Start anew in a forked child, which has none of its parent's threads."""
    global _thread
    _thread = None


def _ensure_running() -> None:
    """Start the thread if there is none, as in a forked child.

    It takes no lock, since a lock could be held when a process forks. Two callers at once may start
    two threads. Each serves its own queue, so nothing is lost.
    """
    global _queue, _thread
    if _thread is not None and _thread.is_alive():
        return
    queue: SimpleQueue[Work] = SimpleQueue()
    thread = Thread(target=_run, args=(queue,), name="circuits-leftovers", daemon=True)
    thread.start()
    _queue, _thread = queue, thread


def _run(queue: SimpleQueue[Work]) -> None:
    while True:
        _do(queue.get())
        if queue.empty():
            # The thread works now and then; a connection of its own would idle in between.
            connections.close_all()


def _do(work: Work) -> None:
    try:
        work()
    except Exception:
        logger.exception("Could not settle a call whose answer was dropped.")


forks.in_child(forget)
