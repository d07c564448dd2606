"""Sends the app's models to their own database alias."""

from __future__ import annotations

import sys
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model

from . import conf
from .storage.identity import is_same_database

APP_LABEL = "circuits"


def is_forbidden(alias: str) -> bool:
    """Return whether a Django test is running that may not use the database ``alias``."""
    testcases = sys.modules.get("django.test.testcases")
    failure: Any = getattr(testcases, "_DatabaseFailure", ())
    mine = connections.all(initialized_only=True)
    return any(each.alias == alias and isinstance(each.cursor, failure) for each in mine)


class CircuitsRouter:
    """Routes the app's models to ``CIRCUITS["DATABASE"]``, and all other models away from it.

    If that alias is a second connection to the default database, both see the same tables, and a
    plain ``migrate`` creates them.
    """

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        """Return the alias for the app's models."""
        return conf.get().database if model._meta.app_label == APP_LABEL else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Allow the app's tables in their own database only, and no other tables there.

        If the site's tables are in that database too, this router has no opinion and leaves the
        decision to the others. That of django-tenants puts the tables into one schema or into each.
        """
        alias = conf.alias()
        if db == alias != DEFAULT_DB_ALIAS and is_forbidden(db):
            return False  # a test for pending migrations must not query it
        home = alias is not None and is_same_database(db, alias)
        if home and is_same_database(db, DEFAULT_DB_ALIAS):
            return None
        if app_label == APP_LABEL:
            return home
        return False if home else None
