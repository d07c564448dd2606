"""Reads a row with the driver of each database alone, to see what the read itself costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

from django.db import connections

#: Reads the row once and returns it.
Read = Callable[[], Any]


@contextmanager
def reading(alias: str, sql: str, params: Any) -> Iterator[Read]:
    """Yield a function that runs a query of Django's on a separate connection of the driver."""
    with _READERS[alias](sql, tuple(params)) as read:
        yield read


@contextmanager
def _sqlite(sql: str, params: Any) -> Iterator[Read]:
    import sqlite3

    query = sql % tuple("?" for _ in params)
    with closing(
        sqlite3.connect(connections["sqlite"].settings_dict["NAME"], isolation_level=None)
    ) as connection:
        cursor = connection.cursor()
        yield lambda: cursor.execute(query, params).fetchone()


@contextmanager
def _postgres(sql: str, params: Any) -> Iterator[Read]:
    import psycopg

    with psycopg.connect(**_parameters("postgres"), autocommit=True) as connection:
        cursor = connection.cursor()
        yield lambda: cursor.execute(sql, params, prepare=True).fetchone()


@contextmanager
def _mariadb(sql: str, params: Any) -> Iterator[Read]:
    import MySQLdb

    with closing(MySQLdb.connect(**_parameters("mariadb"), autocommit=True)) as connection:
        cursor = connection.cursor()

        def read() -> Any:
            cursor.execute(sql, params)
            return cursor.fetchone()

        yield read


def _parameters(alias: str) -> dict[str, Any]:
    """Return the arguments with which the driver connects to the database."""
    wanted = {"host", "port", "user", "password", "dbname", "database", "db"}
    given = connections[alias].get_connection_params()
    return {key: value for key, value in given.items() if key in wanted}


_READERS: Final = {"sqlite": _sqlite, "postgres": _postgres, "mariadb": _mariadb}
