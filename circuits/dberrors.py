"""What a database's error means for the work it ended: whether to do it again, and if it is done.

An error counts as an outage, except a conflict: two transactions met, and the database undid one
of them. That one is done again, a few times.

A wait for a lock that lasts too long (PostgreSQL's ``statement_timeout``, MariaDB's error 1205,
SQLite's "database is locked") is no conflict but an outage: the caller has waited long enough.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from random import random
from typing import Final, TypeVar

from django.db import Error, OperationalError, connections

logger = logging.getLogger("circuits")

T = TypeVar("T")

#: How often a piece of work is begun before a conflict counts as an outage.
ATTEMPTS: Final = 4

#: Seconds to wait before the second attempt at most; before the third, twice as long, and so on.
PAUSE: Final = 0.02

#: What the databases call a conflict.
CONFLICTS: Final = frozenset(
    {
        "40001",  # PostgreSQL: could not serialize access
        "40P01",  # PostgreSQL: deadlock detected
        1213,  # MariaDB and MySQL: deadlock found
        1020,  # MariaDB: the record has changed since it was read
        517,  # SQLite's BUSY_SNAPSHOT: another wrote since this transaction's first read
    }
)

#: MariaDB's and MySQL's drivers: the connection was lost while they waited for an answer.
_LOST: Final = 2013


class InDoubtError(OperationalError):
    """The connection was lost before the database said whether the work is done."""


def code_of(error: Error) -> str | int | None:
    """Return the database's own code of an error; None if it comes from nowhere but the driver."""
    cause = error.__cause__
    code = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorcode", None)
    if code is None and error.args and isinstance(error.args[0], int):
        code = error.args[0]
    return None if code == _LOST else code


def is_conflict(error: Error) -> bool:
    """Whether the database undid the work because of somebody else's."""
    return code_of(error) in CONFLICTS


def retried(alias: str, work: Callable[[], T]) -> T:
    """Do a piece of work that is one transaction, and again after a conflict.

    Within a transaction of somebody else's it is done once: what the database undid then is
    theirs, and only they can begin again.

    Raises:
        django.db.Error: It failed otherwise, or met a conflict at every attempt.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return work()
        except OperationalError as error:
            if connections[alias].in_atomic_block or not is_conflict(error):
                raise
            logger.info("Another transaction was in the way, trying again: %s", error)
        time.sleep(PAUSE * attempt * random())
    return work()


def drop_connection(alias: str) -> None:
    """Close the connection: it may be dead, and outside a request nothing else would."""
    connection = connections[alias]
    if not connection.in_atomic_block:
        connection.close()
