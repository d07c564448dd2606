"""Notices that this process was forked, and leaves the parent's connections to the parent.

Python announces its own forks. A server that forks without Python, as uWSGI does, is noticed by
the process id, which is looked at when a request begins and before the circuits' database is
asked. That is a system call, too slow for a call that is answered from memory.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, local
from typing import Any, Final

from django.core.signals import request_started
from django.db import connections

from .. import conf

logger = logging.getLogger("circuits")


class _Thread(local):
    """The state of one thread."""

    #: The id of the process it was last seen in: a child's first thread was its parent's.
    pid: int | None = None


_here: Final = _Thread()
_here.pid = os.getpid()

#: The id of the process that this module was last set up for.
_pid = os.getpid()

#: One lock per process id, so that a child does not wait for a lock that its parent held.
_locks: Final[dict[int, Lock]] = {}

_steps: Final[list[Callable[[], object]]] = []

#: The parent's connections and pools. To close or collect them in a child would end the parent's.
_parents: Final[list[Any]] = []


def in_child(*steps: Callable[[], object]) -> None:
    """Register steps to take in each child before it does anything with circuits.

    They are taken in order. One that fails is logged and does not stop the others.
    """
    _steps.extend(steps)


def notice(**of_signal: Any) -> None:
    """Take the registered steps if this is a child that has not taken them yet."""
    pid = os.getpid()
    if _here.pid == pid:
        return
    with _locks.setdefault(pid, Lock()):
        _begin_anew(pid)
    if _here.pid is not None:
        _take(leave_connection_to_parent)
    _here.pid = pid


def _begin_anew(pid: int) -> None:
    global _pid
    if _pid == pid:
        return
    for step in (*_steps, leave_pool_to_parent):
        _take(step)
    _pid = pid


def _take(step: Callable[[], object]) -> None:
    try:
        step()
    except Exception:
        logger.exception("A forked child could not leave all of its parent's behind.")


def _after_fork() -> None:
    _here.pid = _pid  # the thread that forks was the parent's
    notice()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
request_started.connect(notice)


# The connections ---------------------------------------------------------------------------------


def leave_connection_to_parent() -> None:
    """Give this thread of a child a new connection to the circuits' database.

    A server that loads the site before it forks may have opened one already. If two processes
    shared it, each would get the other's answers, and closing it in the child would end the
    parent's session.
    """
    alias = conf.get().database
    wrapper: Any
    for wrapper in connections.all(initialized_only=True):
        if wrapper.alias != alias or wrapper.connection is None or _is_in_memory(wrapper):
            continue
        del connections[alias]  # whatever comes next makes a new one
        if wrapper.vendor == "sqlite" or not hasattr(wrapper.connection, "fileno"):
            _parents.append(wrapper)
            continue
        with suppress(wrapper.Database.Error):  # already broken, so there is nothing to share
            _cut_off(wrapper.connection.fileno())
            wrapper.connection.close()


def leave_pool_to_parent() -> None:
    """Leave the pool of ``OPTIONS["pool"]`` to the parent: its threads do not run in the child."""
    wrapper: Any = connections[conf.get().database]
    # Django's own way to drop a pool closes it, and with it the parent's sessions.
    pools = getattr(wrapper, "_connection_pools", {})
    _parents.append(pools.pop(wrapper.alias, None))


def _is_in_memory(wrapper: Any) -> bool:
    """Return whether the child has its own copy of the database, as in a parallel test run."""
    return bool(wrapper.vendor == "sqlite" and wrapper.is_in_memory_db())


def _cut_off(descriptor: int) -> None:
    """Disconnect a descriptor, so that nothing sent over it on closing reaches the server."""
    ours, theirs = socket.socketpair()
    os.dup2(ours.fileno(), descriptor)
    ours.close()
    theirs.close()
