"""Tells what a database's error means: whether to retry, and whether the work may be done already.

An error counts as an outage, with two exceptions. In a conflict, two transactions met and the
database rolled one of them back; that one is retried a few times. A bad value is one that the
database cannot store.

A wait for a lock that lasts too long (PostgreSQL's ``statement_timeout``, MariaDB's error 1205,
SQLite's "database is locked") is not a conflict but an outage, since the caller has waited long
enough.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import random
from typing import Any, Final, TypeVar

from django.db import DataError, Error, OperationalError, connections

from ..exceptions import RemoteCallFailedException, Worded
from ..redaction import describe

logger = logging.getLogger("circuits")

T = TypeVar("T")

#: The number of attempts after which a conflict counts as an outage.
ATTEMPTS: Final = 4

#: The most seconds to wait before the second attempt. Each further pause may be twice as long.
PAUSE: Final = 0.02

#: The databases' codes for a conflict.
CONFLICTS: Final = frozenset(
    {
        "40001",  # PostgreSQL: could not serialize access
        "40P01",  # PostgreSQL: deadlock detected
        1213,  # MariaDB and MySQL: deadlock found
        1020,  # MariaDB: the record has changed since it was read
        517,  # SQLite's BUSY_SNAPSHOT: another wrote since this transaction's first read
    }
)

#: MariaDB's and MySQL's codes for a value that they cannot store, or compare with a column's.
_BAD_VALUES: Final = frozenset(
    {
        1267,  # illegal mix of collations
        1300,  # invalid character string
        1366,  # incorrect value for a column
        1406,  # data too long for a column
        3854,  # MySQL: cannot convert string
        3988,  # MySQL: conversion into another collation is impossible
    }
)

_MIGRATE: Final = (
    "Run manage.py migrate with --database for the circuits' alias; manage.py check with the same "
    "option says more."
)

#: Remedies for errors that do not end by themselves, by a part of the error's text.
_REMEDIES: Final = {
    "unsupported startup parameter": (
        "PgBouncer takes no start-up options: leave OPTIONS['options'] of the circuits' alias out, "
        "and set them on a role of its own: ALTER ROLE ... SET statement_timeout = '5s'."
    ),
    "invalid connection option": (
        "psycopg2 has fewer options than psycopg 3: leave this one out, or install psycopg 3."
    ),
    'relation "circuits_': _MIGRATE,
    "no such table: circuits_": _MIGRATE,
    ".circuits_circuit' doesn't exist": _MIGRATE,
}

#: The code of MariaDB's and MySQL's drivers for a connection lost while waiting for an answer.
_LOST: Final = 2013


#: What an ask may raise by itself: an outage, or a refusal with its reason.
FORESEEN: Final = (Error, Worded, RemoteCallFailedException)


class InDoubtError(OperationalError):
    """The connection was lost before the database said whether the work is done."""


#: Where a driver keeps the database's own code: psycopg 3, psycopg2, sqlite3. MariaDB's and
#: MySQL's have it as the first argument of the error.
_CODES: Final = ("sqlstate", "pgcode", "sqlite_errorcode")


class SilentError(InDoubtError):
    """The database was asked and has not answered in time; it may still do the work."""

    def __init__(self) -> None:
        super().__init__("it has been asked and does not answer")


def code_of(error: BaseException) -> str | int | None:
    """Return the database's own code of an error; None if the error is the driver's own."""
    cause = error.__cause__
    code: Any = next(filter(None, (getattr(cause, name, None) for name in _CODES)), None)
    if code is None and error.args and isinstance(error.args[0], int):
        code = error.args[0]
    return None if code == _LOST else code


def is_conflict(error: Error) -> bool:
    """Return whether the database rolled the work back because of another transaction."""
    return code_of(error) in CONFLICTS


def is_bad_value(error: BaseException) -> bool:
    """Return whether the database works but cannot store, or compare, a value it was given.

    A text may be too long, or have characters that the encoding lacks. Some drivers raise an
    operational error for that, and some one of Python's own errors.
    """
    return isinstance(error, (DataError, UnicodeError)) or code_of(error) in _BAD_VALUES


@contextmanager
def encodable() -> Iterator[None]:
    """Turn a driver's failure to encode a text into an error in the data, which it is.

    Raises:
        django.db.DataError: A text cannot be encoded for the connection.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        raise DataError(str(error)) from error


def remedy(error: BaseException) -> str:
    """Return what to do about an error that does not end by itself; empty for any other."""
    message = str(error)
    return next((help_ for part, help_ in _REMEDIES.items() if part in message), "")


def retried(alias: str, work: Callable[[], T]) -> T:
    """Do work that is one transaction, and retry it after a conflict.

    Inside a transaction of the caller's it is not retried: the database has rolled back all of
    that, and only the caller can begin again.

    Raises:
        django.db.Error: The work failed otherwise, or met a conflict at every attempt.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return work()
        except OperationalError as error:
            if connections[alias].in_atomic_block or not is_conflict(error):
                raise
            logger.info("Another transaction was in the way, trying again: %s", describe(error))
        time.sleep(PAUSE * attempt * random())
    return work()


def drop_connection(alias: str) -> None:
    """Close the connection, which may be dead. Outside a request, nothing else would close it."""
    connection = connections[alias]
    if not connection.in_atomic_block:
        connection.close()
