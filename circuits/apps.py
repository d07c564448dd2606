"""The app's configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db import connections
from django.db.models import Model
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class CircuitsConfig(AppConfig):
    """Circuit breakers kept in the database."""

    name = "circuits"
    verbose_name = _("circuit breakers")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register checks and signal handlers."""
        from .checks import check_deployment, check_settings
        from .integrations import setup
        from .storage import testruns
        from .storage.checks import check_databases
        from .storage.identity import note_places

        note_places()
        testruns.note_unguarded()
        checks.register(check_settings)
        checks.register(check_deployment, deploy=True)
        checks.register(check_databases, checks.Tags.database)
        post_migrate.connect(create_configured, sender=self)
        setup.connect()


def create_configured(using: str, plan: Sequence[tuple[Any, bool]] = (), **kwargs: Any) -> None:
    """Make the circuits that the settings name, so that the admin lists them from the start."""
    from .models import Circuit
    from .storage import testruns
    from .storage.database import DatabaseStore
    from .storage.identity import is_same_database

    if not is_same_database(using, DatabaseStore().alias):
        return
    going_back = any(backwards for _migration, backwards in plan)
    if not going_back and _has_columns(using, Circuit):
        # Through this alias, not that of the circuits, which a test run may not have replaced yet.
        DatabaseStore(using).create_configured()
    if testruns.is_on():
        # Either a test with real commits has ended and its rows are gone. Or the database is new
        # and the runner is about to point the circuits' alias at it, or to copy SQLite's file,
        # which is complete only once no connection is open.
        testruns.end_test()


def _has_columns(alias: str, model: type[Model]) -> bool:
    """Return whether the table has all columns of the model, as it has after the last migration."""
    table, introspection = model._meta.db_table, connections[alias].introspection
    with connections[alias].cursor() as cursor:
        if table not in introspection.table_names(cursor):
            return False
        columns = {column.name for column in introspection.get_table_description(cursor, table)}
    return columns >= {field.column for field in model._meta.concrete_fields}
