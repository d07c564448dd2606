"""The system checks that ask the circuits' database whether it can be used.

tests/projects/ runs them in whole projects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from django.core import checks
from django.core.checks import CheckMessage
from django.db import OperationalError, connections
from pytest_django import Settings

from circuits.storage.checks import check_databases

pytestmark = pytest.mark.usefixtures("committed")

ALIAS = "circuits"


def found(*aliases: str) -> Sequence[CheckMessage]:
    return check_databases(databases=aliases or (ALIAS,))


@contextmanager
def statements(change: Callable[[str], str]) -> Iterator[None]:
    """Let the circuits' database run other statements than those it is given."""

    def execute_changed(execute: Any, sql: str, *args: Any) -> Any:
        return execute(change(sql), *args)

    with connections[ALIAS].execute_wrapper(execute_changed):
        yield


@contextmanager
def failing(message: str) -> Iterator[None]:
    def fail(sql: str) -> str:
        raise OperationalError(message)

    with statements(fail):
        yield


def use_tables(monkeypatch: pytest.MonkeyPatch, alias: str, *tables: str) -> None:
    """Let a database have these tables, as far as Django can see."""
    monkeypatch.setattr(connections[alias].introspection, "table_names", lambda *_: list(tables))


def test_a_database_with_its_tables_passes() -> None:
    assert found() == []


def test_only_a_database_that_is_to_be_checked_is_asked(settings: Settings) -> None:
    with failing("no such table: circuits_circuit"):
        assert check_databases() == []
        assert check_databases(databases=[]) == []
        assert found("elsewhere") == []
        assert len(found("elsewhere", ALIAS)) == 1
        settings.CIRCUITS = {"DATABASE": "elsewhere"}
        assert found("elsewhere") == [], "another check tells that there is no such alias"


def test_the_site_is_checked_for_both_if_they_share_a_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for are_one in (True, False):
        asked: list[Any] = []

        def is_same(*aliases: str, are_one: bool = are_one, **options: bool) -> bool:
            asked.append((aliases, options))  # noqa: B023
            return are_one

        monkeypatch.setattr("circuits.storage.checks.is_same_database", is_same)
        with failing("no such table: circuits_circuit"):
            assert len(found("default")) == are_one
        assert asked == [(("default", ALIAS), {"ask": True})]


def test_w005_tells_what_to_do_about_a_database_that_cannot_be_used() -> None:
    with failing("unsupported startup parameter: options"):
        (warning,) = found()
    assert (warning.id, type(warning)) == ("circuits.W005", checks.Warning)
    assert warning.msg == (
        "The circuits' database 'circuits' cannot be used: "
        "OperationalError: unsupported startup parameter: options"
    )
    assert str(warning.hint).startswith("PgBouncer takes no start-up options: leave OPTIONS")


def test_a_database_that_is_down_is_nobodys_mistake() -> None:
    with failing("connection refused"):
        assert found() == []


@pytest.mark.parametrize("is_open", [True, False])
def test_a_connection_is_left_as_it_was(is_open: bool) -> None:
    connections[ALIAS].close()
    if is_open:
        connections[ALIAS].ensure_connection()
    found()
    assert (connections[ALIAS].connection is not None) is is_open


@pytest.mark.parametrize("schema", ["NULL", "'public'"])
def test_w006_tells_that_no_schema_of_the_path_exists(
    monkeypatch: pytest.MonkeyPatch, schema: str
) -> None:
    monkeypatch.setattr(connections[ALIAS], "vendor", "postgresql")
    monkeypatch.setattr("circuits.storage.checks.is_same_database", lambda *_, ask: False)
    with statements(lambda sql: f"SELECT {schema}, 'shop'" if "search_path" in sql else sql):
        warnings = found()
    if schema != "NULL":
        assert warnings == []
        return
    (warning,) = warnings
    assert (warning.id, type(warning)) == ("circuits.W006", checks.Warning)
    assert warning.msg == (
        "No schema of the search_path of the database 'circuits' (shop) exists, so the circuits' "
        "tables cannot be made."
    )
    assert warning.hint == ("Run CREATE SCHEMA there, then manage.py migrate --database circuits.")


def test_w007_tells_that_the_tables_were_never_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("circuits.storage.checks.is_same_database", lambda *_, ask: False)
    use_tables(monkeypatch, ALIAS, "django_migrations", "auth_user")
    (warning,) = found()
    assert (warning.id, type(warning)) == ("circuits.W007", checks.Warning)
    assert warning.msg == (
        "The database 'circuits' has a record of the migrations of circuits, but not their tables."
    )
    assert warning.hint == (
        "Run manage.py migrate circuits zero --fake --database circuits, then "
        "manage.py migrate --database circuits."
    )
    use_tables(monkeypatch, ALIAS, "django_migrations", "circuits_minute")
    assert found() == [], "a table that is missing alone is for migrate to tell"


def test_w007_tells_of_every_app_that_belongs_to_a_shared_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("circuits.storage.checks.is_same_database", lambda *_, ask: True)
    monkeypatch.setattr(
        "circuits.storage.checks.router.allow_migrate_model",
        lambda alias, model: alias == ALIAS and model._meta.app_label != "admin",
    )
    use_tables(monkeypatch, ALIAS, "django_migrations", "auth_user")
    (warning,) = found()
    assert "of the migrations of circuits, contenttypes, sessions, but" in warning.msg
    assert str(warning.hint).startswith(
        "Run manage.py migrate circuits zero --fake --database circuits, then manage.py migrate "
        "contenttypes zero --fake --database circuits, then manage.py migrate sessions zero "
    )


def test_w007_is_for_recorded_migrations_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tables(monkeypatch, ALIAS)
    monkeypatch.setattr(
        "circuits.storage.checks.MigrationRecorder.applied_migrations",
        lambda recorder: {("shop", "0001_initial"): None},
    )
    assert found() == []
