"""Takes the circuits' database away from this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections


@contextmanager
def no_database() -> Iterator[None]:
    """Make the circuits' database unreachable for this process while the block runs."""
    connection = connections["circuits"]
    where: dict[str, Any] = connection.settings_dict
    # The name stays, because the process identifies the database by it.
    is_file = connection.vendor == "sqlite"
    broken = {"OPTIONS": {**where["OPTIONS"], "init_command": "SELECT * FROM nowhere"}}
    nowhere: dict[str, Any] = broken if is_file else {"PORT": "1"}
    kept = {key: where[key] for key in nowhere}
    connection.close()
    where.update(nowhere)
    try:
        yield
    finally:
        connection.close()
        where.update(kept)


def cut_connection() -> None:
    """End this thread's connection to the circuits' database from outside, as a server can."""
    connection = connections["circuits"]
    match connection.vendor:
        case "postgresql":
            _run("SELECT pg_terminate_backend(%s)", connection.connection.info.backend_pid)
        case "mysql":
            _run("KILL %s", connection.connection.thread_id())
        case _:
            connection.connection.close()


def _run(sql: str, argument: int) -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute(sql, [argument])
