"""Makes, migrates and drops the databases of a run, and keeps circuits on one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from django.db import connections
from django.test.utils import override_settings, setup_databases, teardown_databases

from tests.patience import no_time_limits

#: The alias of each database server.
ALIASES: Final = {"PostgreSQL": "postgres", "MariaDB": "mariadb"}

#: The name that readers see for the database of each alias.
LABELS: Final = {"sqlite": "SQLite", **{alias: name for name, alias in ALIASES.items()}}

#: Seconds between two flushes; no case takes as long, so none flushes by itself.
NEVER_FLUSH: Final = 3600


@contextmanager
def made(services: Iterable[str]) -> Iterator[None]:
    """Make the databases of SQLite and of the named servers, and drop them at the end."""
    aliases = ["sqlite", *(ALIASES[name] for name in services if name in ALIASES)]
    with ExitStack() as stack:
        for alias in aliases:
            stack.enter_context(made_one(alias))
        yield


@contextmanager
def made_one(alias: str) -> Iterator[None]:
    """Make and migrate the database of an alias, and drop it at the end."""
    with override_settings(CIRCUITS={"DATABASE": alias}), no_time_limits():
        old = setup_databases(verbosity=0, interactive=False, aliases={alias: False})
    try:
        yield
    finally:
        _end_sessions(alias)
        with no_time_limits():
            teardown_databases(old, verbosity=0)


def _end_sessions(alias: str) -> None:
    """End the sessions of other threads, since PostgreSQL drops no database that is in use."""
    connection = connections[alias]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


def versions(services: Iterable[str]) -> dict[str, str]:
    """Return the versions of SQLite and of the named database servers."""
    aliases = ["sqlite", *(ALIASES[name] for name in services if name in ALIASES)]
    return {
        LABELS[alias]: ".".join(map(str, connections[alias].get_database_version()))
        for alias in sorted(aliases, key=list(LABELS).index)
    }


@contextmanager
def circuits_on(alias: str, **more: Any) -> Iterator[None]:
    """Keep the circuits on a database while the block runs, as a process that knows none yet.

    Args:
        alias: The alias of the database.
        **more: Further keys of the ``CIRCUITS`` setting, such as ``SNAPSHOT_SECONDS=0``.
    """
    from circuits import conf
    from circuits.process import runtime

    keys = {"FLUSH_SECONDS": NEVER_FLUSH, "OPENTELEMETRY": False, **more}
    with override_settings(CIRCUITS={"DATABASE": alias, **keys}):
        runtime.forget()
        try:
            yield
        finally:
            runtime.forget()
            conf.forget_declared()


def close() -> None:
    """Close this thread's connections."""
    connections.close_all()
