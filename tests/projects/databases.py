"""The databases of the small projects, set up as the README says for each kind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pytest
from django.db.utils import ConnectionHandler

from tests import services

#: Settings for the Quick start's two files, and for a server as the Quick start describes it.
_FILES: Final = """
DATABASES["circuits"] = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": BASE_DIR / "circuits.sqlite3",
    "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
}
"""
_TEST_FILES: Final = """
for alias in DATABASES:
    DATABASES[alias]["TEST"] = {"NAME": BASE_DIR / f"test_{alias}.sqlite3"}
"""
_SERVER: Final = """
DATABASES["default"] = {server!r}
DATABASES["circuits"] = {{
    **DATABASES["default"],
    "ATOMIC_REQUESTS": False,
    "TEST": {{"MIRROR": "default"}},
}}
"""

_SERVERS: Final = {"postgres": "PostgreSQL", "mariadb": "MariaDB"}
_ENGINES: Final = {
    "postgres": "django.db.backends.postgresql",
    "mariadb": "django.db.backends.mysql",
}

#: The kinds that belong to the database of this test run; `make test` needs no server.
KINDS: Final = {
    "sqlite": ("sqlite file", "sqlite memory"),
    "postgres": ("postgres",),
    "mariadb": ("mariadb",),
}[os.environ.get("TEST_DATABASE", "sqlite")]

#: Marks tests that need a server, and whose project keeps its circuits on SQLite files.
once_on_servers = pytest.mark.skipif(
    KINDS == ("mariadb",), reason="once is enough, beside PostgreSQL"
)


@dataclass(frozen=True, slots=True)
class Databases:
    """The databases of one project.

    Args:
        kind: ``sqlite file`` and ``sqlite memory`` say where the *test* databases are; the
            project's own databases are files in both. ``postgres`` and ``mariadb`` are one database
            with two aliases.
        settings: The lines of ``settings.py`` that set them up.
        vendor: Django's name of the kind of database.
    """

    kind: str
    settings: str

    @property
    def is_server(self) -> bool:
        """Whether both aliases name one database of a server."""
        return self.kind in _SERVERS

    @property
    def migrations(self) -> tuple[tuple[str, ...], ...]:
        """The arguments of ``migrate`` that make all tables."""
        return ((),) if self.is_server else ((), ("--database", "circuits"))


#: Files in the project's folder, as in the Quick start; their test databases are in memory.
FILES: Final = Databases("sqlite memory", _FILES)


@contextmanager
def databases(kind: str, encoding: str = "") -> Iterator[Databases]:
    """Make the databases of a project, and drop them and their test databases at the end.

    Args:
        kind: One of :data:`KINDS`.
        encoding: How the server stores texts, as a clause of its ``CREATE DATABASE``.
    """
    if kind == "sqlite memory":
        yield FILES
    elif kind == "sqlite file":
        yield Databases(kind, _FILES + _TEST_FILES)
    else:
        server = _server(kind, f"project_{uuid4().hex[:12]}")
        _execute(server, f"CREATE DATABASE {server['NAME']} {encoding}")
        try:
            yield Databases(kind, _SERVER.format(server=server))
        finally:
            for name in _names_like(server):
                _execute(server, f"DROP DATABASE {name}")


def _server(kind: str, name: str) -> dict[str, Any]:
    address = urlsplit(services.url(_SERVERS[kind]))
    return {
        "ENGINE": _ENGINES[kind],
        "NAME": name,
        "USER": unquote(address.username or ""),
        "PASSWORD": unquote(address.password or ""),
        "HOST": address.hostname,
        "PORT": str(address.port),
    }


def _names_like(server: dict[str, Any]) -> list[str]:
    """Return the names of the project's database and of those that its test runs left behind."""
    table, column = "information_schema.schemata", "schema_name"
    if server["ENGINE"] == _ENGINES["postgres"]:
        table, column = "pg_database", "datname"
    like = f"%{server['NAME']}%"
    found = _execute(server, f"SELECT {column} FROM {table} WHERE {column} LIKE %s", like)
    return [name for (name,) in found]


def _execute(server: dict[str, Any], sql: str, *params: str) -> list[Any]:
    """Run a statement on the server, connected to a database that always exists."""
    known = "postgres" if server["ENGINE"] == _ENGINES["postgres"] else "mysql"
    connection = ConnectionHandler({"default": {**server, "NAME": known}})["default"]
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, params or None)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()
