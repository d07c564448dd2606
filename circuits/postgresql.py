"""A read timeout for PostgreSQL, such as MySQL's driver has.

The server's own ``statement_timeout`` does not help if the server or the network falls silent, and
libpq has no timeout for an answer. It is tested with psycopg 3.2.13 and later; with 3.1.8 and 3.2.1
a wait for a silent server did not end.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import psycopg
from django.db.backends.postgresql.base import ServerBindingCursor

T = TypeVar("T")


def cursor_within(seconds: float, cursor: type[Any] = ServerBindingCursor) -> type[Any]:
    """Return a cursor class that gives up on a silent connection::

        "OPTIONS": {"cursor_factory": cursor_within(5), ...}

    Args:
        seconds: How long the connection waits for each answer, including that to a commit. Make it
            longer than ``statement_timeout``, so that a healthy server reports the timeout.
        cursor: The cursor class to extend. Pass Django's ``Cursor`` if the site does not use
            server-side binding.
    """

    class Cursor(cursor):  # type: ignore[misc]
        def __init__(self, connection: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(connection, *args, **kwargs)
            # psycopg runs every exchange with the server as a generator, through this method.
            connection.wait = partial(_wait, connection, seconds)

    return Cursor


def _wait(
    connection: Any, seconds: float, asking: Generator[Any, Any, T], *args: Any, **kwargs: Any
) -> T:
    result: T = type(connection).wait(connection, _within(seconds, asking), *args, **kwargs)
    return result


def _within(seconds: float, asking: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
    """Run a generator of psycopg until the deadline. Psycopg resumes it ten times a second."""
    deadline = monotonic() + seconds
    try:
        wanted = next(asking)
        while True:
            ready = yield wanted
            if not ready and monotonic() >= deadline:
                raise psycopg.OperationalError(f"no answer within {seconds:g} seconds")
            wanted = asking.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result
