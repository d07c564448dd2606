"""The app's configuration."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
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
        """Register the checks and who listens; after a migration, make the settings' circuits."""
        from . import extras
        from .checks import check_settings
        from .routers import is_same_database

        for first, second in product(connections, repeat=2):
            is_same_database(first, second)
        checks.register(check_settings)
        post_migrate.connect(create_configured, sender=self)
        extras.connect()


def create_configured(using: str, plan: Sequence[tuple[Any, bool]] = (), **kwargs: Any) -> None:
    """Make the circuits that the settings name, so that the admin lists them from the start."""
    from .models import Circuit
    from .routers import is_same_database
    from .store import DatabaseStore

    store = DatabaseStore()
    going_back = any(backwards for _migration, backwards in plan)
    if going_back or not is_same_database(using, store.alias):
        return
    if _has_columns(using, Circuit):
        store.create_configured()


def _has_columns(alias: str, model: type[Model]) -> bool:
    """Whether the model's table is there, and not that of an upgrade that goes on in steps."""
    table, introspection = model._meta.db_table, connections[alias].introspection
    with connections[alias].cursor() as cursor:
        if table not in introspection.table_names(cursor):
            return False
        columns = {column.name for column in introspection.get_table_description(cursor, table)}
    return columns >= {field.column for field in model._meta.concrete_fields}
