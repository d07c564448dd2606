"""Queries that are compiled once: they equal Django's own, and are not compiled again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import Error, connections, transaction
from django.db.models import F
from django.db.models.sql.compiler import SQLCompiler, SQLUpdateCompiler
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from circuits.fields import DatabaseNow
from circuits.models import Circuit
from circuits.storage import rows
from circuits.storage.statements import Parameter, Select, Update
from tests.calls import fail, succeed
from tests.concurrency import in_threads
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")

ALIAS = "circuits"


@pytest.fixture
def full() -> Circuit:
    """Make a circuit with a value in every column."""
    return CircuitFactory.create(
        name="payments",
        opened=True,
        respect_retry_after=True,
        failure_statuses="500-599, 429",
        delay=12.345678901234567,
        run_started_at=datetime(2026, 3, 29, 1, 59, 59, 123456, tzinfo=UTC),
        leases=[["token", 1234.5]],
        window={"buckets": [[1, 2, 3, 4]], "recent": "gf"},
    )


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the statements that Django compiles."""
    seen: list[str] = []
    for kind in (SQLCompiler, SQLUpdateCompiler):
        original = kind.as_sql

        def as_sql(self: Any, *args: Any, original: Any = original, **kwargs: Any) -> Any:
            sql, params = original(self, *args, **kwargs)
            seen.append(sql)
            return sql, params

        monkeypatch.setattr(kind, "as_sql", as_sql)
    return seen


def by_django() -> Any:
    columns: tuple[str, ...] = rows.Row._fields
    names = [column for column in columns if column != "db_now"]
    return Circuit.objects.using(ALIAS).values_list(*names).get(name="payments")


@pytest.mark.parametrize("use_tz", [True, False])
def test_a_row_is_the_one_that_django_reads(
    full: Circuit, settings: Settings, use_tz: bool
) -> None:
    settings.USE_TZ = use_tz
    row = rows.READ.row(ALIAS, name="payments")
    assert row is not None
    assert tuple(row[:-1]) == by_django()
    assert [type(value) for value in row[:-1]] == [type(value) for value in by_django()]


def test_the_locked_row_is_the_same_and_locked_where_the_database_can(full: Circuit) -> None:
    with transaction.atomic(using=ALIAS), CaptureQueriesContext(connections[ALIAS]) as queries:
        row = rows.LOCK.row(ALIAS, name="payments")
    assert row is not None
    assert tuple(row[:-1]) == by_django()
    sql = queries.captured_queries[-1]["sql"]
    assert sql.endswith("FOR UPDATE") == connections[ALIAS].features.has_select_for_update


def test_there_is_no_row_of_a_name_that_is_not_there() -> None:
    assert rows.READ.row(ALIAS, name="payments") is None


def test_a_statement_is_compiled_once_by_whichever_thread_comes_first(
    compiled: list[str], settings: Settings
) -> None:
    CircuitFactory.create(name="payments")
    select = Select(
        lambda alias: (
            Circuit.objects.using(alias)
            .filter(name=Parameter("name", Circuit._meta.get_field("name")))
            .annotate(db_now=DatabaseNow())
            .values_list("threshold")
        )
    )
    assert select.row(ALIAS, name="payments") == [5]
    assert len(compiled) == 1

    def work(index: int) -> None:
        assert select.row(ALIAS, name="payments") == [5]

    in_threads(4, work)
    assert len(compiled) == 1


def test_calls_that_ask_the_database_compile_nothing(
    compiled: list[str], settings: Settings
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 0}
    CircuitFactory.create(name="payments", threshold=9)

    def calls() -> None:
        succeed("payments", 2)
        fail("payments", 2)
        succeed("payments", 2)

    calls()
    compiled.clear()
    calls()
    assert compiled == []


def test_an_update_tells_how_many_rows_it_found_and_sets_what_is_given() -> None:
    CircuitFactory.create(name="payments", threshold=3)
    field: Any = Circuit._meta.get_field("threshold")
    update = Update(
        lambda alias: Circuit.objects.using(alias).filter(threshold=Parameter("old", field)),
        {"threshold": F("threshold") + Parameter("more", field)},
    )
    assert update.run(ALIAS, old=3, more=4) == 1
    assert Circuit.objects.get().threshold == 7
    assert update.run(ALIAS, old=3, more=4) == 0


def test_an_update_that_fails_in_a_transaction_spoils_it_as_djangos_own_does() -> None:
    CircuitFactory.create(name="payments")
    field: Any = Circuit._meta.get_field("threshold")
    update = Update(
        lambda alias: Circuit.objects.using(alias).all(), {"threshold": Parameter("new", field)}
    )
    with transaction.atomic(using=ALIAS):
        with pytest.raises(Error):
            update.run(ALIAS, new=None)
        with pytest.raises(transaction.TransactionManagementError):
            Circuit.objects.using(ALIAS).count()
