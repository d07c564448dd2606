"""Lifts the time limits of statements, since making and dropping a database may take longer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import connections

#: The options that end a statement which takes too long: PostgreSQL's, and those for MariaDB.
_LIMITS: Final = {"cursor_factory", "options", "read_timeout", "write_timeout"}


@contextmanager
def no_time_limits() -> Iterator[None]:
    """Connect without the time limits of the settings while the block runs."""
    kept = {each.alias: each.settings_dict["OPTIONS"] for each in connections.all()}
    try:
        for alias, options in kept.items():
            connections[alias].close()
            connections[alias].settings_dict["OPTIONS"] = {
                name: value for name, value in options.items() if name not in _LIMITS
            }
        yield
    finally:
        for alias, options in kept.items():
            connections[alias].close()
            connections[alias].settings_dict["OPTIONS"] = options
