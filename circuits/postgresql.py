"""An end to waiting for PostgreSQL, as MySQL's driver has it in its ``read_timeout``.

The server's own ``statement_timeout`` bounds nothing when the server, or what is between, has
fallen silent, and libpq knows no timeout for an answer. Needs psycopg 3.2.
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
    """Return a cursor for ``OPTIONS["cursor_factory"]`` that gives up a silent connection.

    Args:
        seconds: How long its connection waits for each answer, a commit's too. Let it be more than
            ``statement_timeout``: a server that is well says itself that it gave up.
        cursor: The cursor to add that to; Django's ``Cursor`` where the server binds no parameters.
    """

    class Cursor(cursor):  # type: ignore[misc]
        def __init__(self, connection: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(connection, *args, **kwargs)
            # Everything psycopg asks of the server is a generator that this method runs.
            connection.wait = partial(_wait, connection, seconds)

    return Cursor


def _wait(
    connection: Any, seconds: float, asking: Generator[Any, Any, T], *args: Any, **kwargs: Any
) -> T:
    result: T = type(connection).wait(connection, _within(seconds, asking), *args, **kwargs)
    return result


def _within(seconds: float, asking: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
    """Pass on what psycopg waits for; it looks in here ten times a second while nothing comes."""
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
