"""The databases of the small projects, laid out as the README says for each kind."""

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

#: The Quick start's two files, and what its sentence on servers makes of a PostgreSQL or MariaDB.
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

#: The kinds that the database of this test run stands for: `make test` needs no server.
KINDS: Final = {
    "sqlite": ("sqlite file", "sqlite memory"),
    "postgres": ("postgres",),
    "mariadb": ("mariadb",),
}[os.environ.get("TEST_DATABASE", "sqlite")]

#: For tests that need a server, but whose project keeps its circuits where it always does.
once_on_servers = pytest.mark.skipif(
    KINDS == ("mariadb",), reason="once is enough, beside PostgreSQL"
)


@dataclass(frozen=True, slots=True)
class Databases:
    """The databases of one project.

    Args:
        kind: ``sqlite file`` and ``sqlite memory`` say where the *test* databases are; the
            project's own are files in both. ``postgres`` and ``mariadb`` are one database with
            two aliases.
        settings: What lays them out in ``settings.py``.
        vendor: Django's word for the database.
    """

    kind: str
    settings: str

    @property
    def is_server(self) -> bool:
        """Whether both aliases lead to one database of a server."""
        return self.kind in _SERVERS

    @property
    def migrations(self) -> tuple[tuple[str, ...], ...]:
        """The arguments of ``migrate`` that make all tables."""
        return ((),) if self.is_server else ((), ("--database", "circuits"))


#: Files in the project's folder, as in the Quick start; their test databases are in memory.
FILES: Final = Databases("sqlite memory", _FILES)


@contextmanager
def databases(kind: str, encoding: str = "") -> Iterator[Databases]:
    """Make the databases of a project, and drop what became of them.

    Args:
        kind: Of :data:`KINDS`.
        encoding: How its server keeps texts, in the words of its ``CREATE DATABASE``.
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
    """Return the project's database and those that its test runs have made and left."""
    table, column = "information_schema.schemata", "schema_name"
    if server["ENGINE"] == _ENGINES["postgres"]:
        table, column = "pg_database", "datname"
    like = f"%{server['NAME']}%"
    found = _execute(server, f"SELECT {column} FROM {table} WHERE {column} LIKE %s", like)
    return [name for (name,) in found]


def _execute(server: dict[str, Any], sql: str, *params: str) -> list[Any]:
    """Run a statement on the server, from a database that is always there."""
    known = "postgres" if server["ENGINE"] == _ENGINES["postgres"] else "mysql"
    connection = ConnectionHandler({"default": {**server, "NAME": known}})["default"]
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, params or None)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()
