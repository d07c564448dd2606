"""System checks that ask the circuits' database. ``migrate`` and ``check --database`` run them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core import checks
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, Error, connections, router
from django.db.migrations.recorder import MigrationRecorder

from .. import conf
from ..redaction import describe
from ..routers import APP_LABEL
from .errors import remedy
from .identity import is_same_database


def check_databases(
    app_configs: Sequence[AppConfig] | None = None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """Check the circuits' database itself, if it is among the databases to check."""
    alias = conf.alias()
    if alias is None or alias not in _asked(databases, alias):
        return []
    connection = connections[alias]
    was_open = connection.connection is not None
    try:
        return [*_check_schema(alias), *_check_tables(alias)]
    except (Error, ImproperlyConfigured) as error:
        return _unreachable(alias, error)
    finally:
        if not was_open:
            # A test database with an open connection could not be dropped after a parallel run.
            connection.close()


def _asked(databases: Sequence[str] | None, alias: str) -> set[str]:
    """Return the aliases to check; ours too if ``default`` leads to the same database."""
    asked = set(databases or ())
    if DEFAULT_DB_ALIAS in asked and is_same_database(DEFAULT_DB_ALIAS, alias, ask=True):
        asked.add(alias)
    return asked


def _unreachable(alias: str, error: Exception) -> list[CheckMessage]:
    hint = remedy(error)
    if not hint:
        return []  # the database may just be down, with no setting at fault
    message = f"The circuits' database {alias!r} cannot be used: {describe(error)}"
    return [checks.Warning(message, hint=hint, id="circuits.W005")]


def _check_schema(alias: str) -> Iterator[CheckMessage]:
    connection = connections[alias]
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema(), current_setting('search_path')")
        schema, path = cursor.fetchone()
    if schema is None:
        yield checks.Warning(
            f"No schema of the search_path of the database {alias!r} ({path}) exists, so the "
            "circuits' tables cannot be made.",
            hint=f"Run CREATE SCHEMA there, then manage.py migrate --database {alias}.",
            id="circuits.W006",
        )


def _check_tables(alias: str) -> Iterator[CheckMessage]:
    """Check that apps whose migrations are recorded have their tables.

    Django records a migration even if no router lets it make a table. If the router takes one
    database for two, the tables that belong to one alias are never made through the other.
    """
    labels = list(_recorded_without_tables(alias))
    if not labels:
        return
    where = f"--database {alias}"
    forget = [f"manage.py migrate {label} zero --fake {where}" for label in labels]
    yield checks.Warning(
        f"The database {alias!r} has a record of the migrations of {', '.join(labels)}, but not "
        "their tables.",
        hint=f"Run {', then '.join([*forget, f'manage.py migrate {where}'])}.",
        id="circuits.W007",
    )


def _recorded_without_tables(alias: str) -> Iterator[str]:
    connection = connections[alias]
    recorded = {label for label, _name in MigrationRecorder(connection).applied_migrations()}
    tables = set(connection.introspection.table_names())
    is_shared = is_same_database(alias, DEFAULT_DB_ALIAS, ask=True)
    for config in apps.get_app_configs():
        label = config.label
        if label not in recorded or not (is_shared or label == APP_LABEL):
            continue
        wanted = {
            model._meta.db_table
            for model in config.get_models(include_auto_created=True)
            if model._meta.managed
            and (label == APP_LABEL or router.allow_migrate_model(alias, model))
        }
        if wanted and wanted.isdisjoint(tables):
            yield label
