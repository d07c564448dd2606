"""What a forked child must not share with its parent: the connection to the circuits' database."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any, Final

from django.db import connections

#: SQLite's connections cannot be closed in a child without harm, so they are kept as they are.
_parents: Final[list[Any]] = []


def leave_connection_to_parent(alias: str) -> None:
    """Let a child begin with a connection of its own; for the child, right after the fork.

    A server that loads the site before it forks may have asked the database already. If two
    processes talked over that connection each would get the other's answers, and closing it in
    the child would end the parent's session.
    """
    wrapper: Any
    for wrapper in connections.all(initialized_only=True):
        if wrapper.alias != alias or wrapper.connection is None or _is_in_memory(wrapper):
            continue
        del connections[alias]  # whatever comes next makes a new one
        if wrapper.vendor == "sqlite":
            _parents.append(wrapper)
            continue
        with suppress(wrapper.Database.Error):  # broken already, so there is nothing to share
            _cut_off(wrapper.connection.fileno())
            wrapper.connection.close()


def _is_in_memory(wrapper: Any) -> bool:
    """Whether the child has a copy of the database itself, as in a parallel test run."""
    return bool(wrapper.vendor == "sqlite" and wrapper.is_in_memory_db())


def _cut_off(descriptor: int) -> None:
    """Let a descriptor lead to nobody: a goodbye sent over it reaches no server."""
    ours, theirs = socket.socketpair()
    os.dup2(ours.fileno(), descriptor)
    ours.close()
    theirs.close()
