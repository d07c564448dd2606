"""Sends the app's models to their own database alias."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.db import connections
from django.db.models import Model

from . import conf

APP_LABEL = "circuits"


@cache
def is_same_database(first: str, second: str) -> bool:
    """Whether two aliases are connections to one database.

    Answered once, when the app is loaded: test runners rename databases one after the other.
    """
    return first == second or _address(first) == _address(second)


def _address(alias: str) -> tuple[Any, ...]:
    options = connections[alias].settings_dict
    return tuple(options[key] for key in ("ENGINE", "HOST", "PORT", "NAME"))


class CircuitsRouter:
    """Routes the circuits to ``CIRCUITS["DATABASE"]`` and everything else away from it.

    Where that alias is a second connection to the default database, both see the same tables and
    a plain ``migrate`` makes them.
    """

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        """Return the alias for the app's models."""
        return conf.get().database if model._meta.app_label == APP_LABEL else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Allow the app's tables in their own database, and nothing else's there."""
        home = is_same_database(db, conf.get().database)
        if app_label == APP_LABEL:
            return home
        if home and not is_same_database(db, "default"):
            return False
        return None
