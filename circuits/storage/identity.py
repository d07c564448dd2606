"""Tells whether two aliases lead to the same database, even by different addresses.

If a connection is open already, as in ``migrate``, or if a system check of databases runs, the
database itself is asked for its identity. Otherwise the settings are compared, so that no other
command has to wait for a database.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connections

from ..redaction import describe

logger = logging.getLogger("circuits")

#: The queries that identify the server, its database and the schema in which tables are made. A
#: PostgreSQL server is identified by the moment it started, which every user may read.
_WHO: Final = {
    "postgresql": (
        "SELECT extract(epoch FROM pg_postmaster_start_time()), "  # in no time zone of a session
        "current_database(), current_schema()"
    ),
    "mysql": "SELECT @@hostname, @@port, @@datadir, DATABASE()",
}

#: The settings that name a database, and those that may select another one at that place.
_PLACE: Final = ("ENGINE", "HOST", "PORT", "NAME")
_DETAILS: Final = ("USER", "OPTIONS")

#: The place that each alias led to when the app was loaded.
_places: Final[dict[str, tuple[str, ...]]] = {}


def note_places() -> None:
    """Remember where each alias leads, before a test runner renames the databases one by one.

    Later calls do nothing, since a test that overrides ``INSTALLED_APPS`` loads the app again.
    """
    for alias in connections:
        _places.setdefault(alias, _place(alias))


def is_same_database(first: str, second: str, *, ask: bool | None = None) -> bool:
    """Return whether two aliases lead to the same tables.

    Args:
        first: An alias.
        second: Another alias.
        ask: Whether to ask the databases if their settings differ; by default, only if the first
            is connected.
    """
    if first == second:
        return True
    if is_renamed(first) or is_renamed(second):
        return _places[first] == _places[second] or _mirrors(first, second)
    if ask is None:
        ask = _is_connected(first)
    if not ask or _details(first) == _details(second):
        return _place(first) == _place(second)
    try:
        return _identity(first) == _identity(second)
    except (Error, ImproperlyConfigured) as error:
        same = _place(first) == _place(second)
        _complain_once(first, second, same, describe(error))
        return same


def _place(alias: str) -> tuple[str, ...]:
    settings = connections.settings[alias]
    return tuple(str(settings.get(key, "")) for key in _PLACE)


def _details(alias: str) -> tuple[Any, ...]:
    settings = connections.settings[alias]
    return (*_place(alias), *(settings.get(key) or None for key in _DETAILS))


def is_renamed(alias: str) -> bool:
    """Return whether an alias has been led to another database, as in a test run."""
    return _places.setdefault(alias, _place(alias)) != _place(alias)


def _mirrors(first: str, second: str) -> bool:
    """Return whether the settings make one alias the test mirror of the other."""
    # Settings that somebody changes while the site runs may lack what Django adds to them.
    mirrors = {
        (alias, connections.settings[alias].get("TEST", {}).get("MIRROR"))
        for alias in (first, second)
    }
    return bool(mirrors & {(first, second), (second, first)})


def _is_connected(alias: str) -> bool:
    # Only initialized connections: loading another backend may fail, if its driver is missing.
    initialized = connections.all(initialized_only=True)
    return any(each.alias == alias and each.connection is not None for each in initialized)


def _identity(alias: str) -> tuple[Any, ...]:
    """Return a value that differs for every database and every schema.

    The database is asked each time, since django-tenants changes the schema of a connection.

    Raises:
        django.db.Error: The database does not answer.
        ImproperlyConfigured: Its driver is missing.
    """
    connection = connections[alias]
    if connection.vendor == "sqlite":
        return ("sqlite", _file(str(connection.settings_dict["NAME"])))
    if connection.vendor not in _WHO:
        return _place(alias)
    with connection.cursor() as cursor:
        cursor.execute(_WHO[connection.vendor])
        return (connection.vendor, *cursor.fetchone())


def _file(name: str) -> str:
    if ":memory:" in name or "mode=memory" in name:
        return name
    return os.path.realpath(unquote(urlsplit(name).path) if name.startswith("file:") else name)


@cache
def _complain_once(first: str, second: str, same: bool, error: str) -> None:
    logger.warning(
        "Cannot ask the databases %r and %r whether they are one; by their settings they are %s: "
        "%s",
        first,
        second,
        "one" if same else "two",
        error,
    )
