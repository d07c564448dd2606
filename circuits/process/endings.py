"""Runs the last work of a process, however the process ends itself.

Python runs what is registered with :mod:`atexit` when a process ends in the usual way. It runs
nothing when a process calls :func:`os._exit`, as RQ's work horses and the children of
multiprocessing do, nor when it raises a signal that kills it, as uvicorn does once it has shut
down. Nothing else announces such an end, so these two functions are wrapped.

A process that is killed by a signal it does not handle does no last work.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
from collections.abc import Callable
from functools import wraps
from threading import Thread
from typing import Final, NoReturn

logger = logging.getLogger("circuits")

#: Seconds for which a process that ends at once waits for its last work.
PATIENCE: Final = 5.0

#: The signals that end a process unless it handles them.
FATAL: Final = frozenset({"SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"})

Work = Callable[[], object]


def at_end(work: Work, is_needed: Callable[[], bool]) -> None:
    """Do some work when this process, or a child that it forks, ends itself.

    Args:
        work: Does the work; it may be called more than once.
        is_needed: Returns whether there is any work. It is asked first, so that a child with
            nothing to write ends as if this module were not there.
    """

    def do() -> None:
        try:
            if is_needed():
                _do_within(PATIENCE, work)
        except Exception:
            logger.exception("Could not do the last work of this process.")

    atexit.register(work)
    _wrap_exit(do)
    _wrap_raise_signal(do)


def _wrap_exit(do: Work) -> None:
    end = os._exit

    @wraps(end)
    def _exit(status: int) -> NoReturn:
        try:
            do()
        finally:
            end(status)

    os._exit = _exit


def _wrap_raise_signal(do: Work) -> None:
    send = signal.raise_signal

    @wraps(send)
    def raise_signal(signalnum: int, /) -> None:
        if _is_fatal(signalnum):
            do()
        send(signalnum)

    signal.raise_signal = raise_signal


def _is_fatal(number: int) -> bool:
    """Return whether the signal would end this process, given its present handler."""
    is_default = signal.getsignal(number) is signal.SIG_DFL
    return is_default and signal.Signals(number).name in FATAL


def _do_within(seconds: float, work: Work) -> None:
    """Do the work in a thread of its own, since the caller may be an event loop or hold a lock."""
    thread = Thread(target=work, name="circuits-end", daemon=True)
    thread.start()
    thread.join(seconds)
