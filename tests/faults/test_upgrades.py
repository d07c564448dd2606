"""Upgrades with data present, and with two versions of the code on one database."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, migrations, models
from django.db.migrations.loader import MigrationLoader
from pytest_django import Settings

import circuits
from circuits.core.policy import POLICY_LIMITS
from circuits.core.status import State
from circuits.models import Circuit, Heartbeat, Minute, Transition
from circuits.process import runtime
from circuits.tasks import half_open_expired
from tests.calls import fail, refusal, succeed
from tests.concurrency import HERE, in_threads, let_go, result_of, start_worker
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed", "_tables_again")

ALIAS = "circuits"
TABLES = [model._meta.db_table for model in (Circuit, Transition, Minute, Heartbeat)]

#: The rows of a table, by their primary keys.
Rows = dict[int, dict[str, Any]]

#: The names of the migrations, the oldest first.
STEPS = sorted(name for app, name in MigrationLoader(None).disk_migrations if app == "circuits")


@pytest.fixture
def _tables_again() -> Iterator[None]:
    yield
    migrate(STEPS[-1])


def migrate(target: str) -> None:
    call_command("migrate", "circuits", target, database=ALIAS, verbosity=0)


# Through every migration, there and back ---------------------------------------------------------

MOMENT = datetime(2026, 10, 25, 0, 30, 15, 123456, tzinfo=UTC)

VALUES: dict[str, Any] = {
    "strategy": "rate",
    "mode": "observe",
    "failure_statuses": "500-599, 429",
    "probe_url": "https://pay.example/health",
    "leases": [["token", 1.5]],
    "quarantines": [["web-3:4711:9f3a01c2", 1.5, 2.5, 1, "token"]],
    "window": {"buckets": [[1.5, 3, 2, 1]], "recent": "f.s"},
    "retry_window": {"buckets": [[1.5, 3, 2, 0]], "recent": ""},
    "timeout": 2.5,
    **{name: limits.most for name, limits in POLICY_LIMITS.items()},
}

BY_TYPE: dict[type[Any], Any] = {
    models.DateTimeField: MOMENT,
    models.BooleanField: True,
    models.CharField: "words",
    models.IntegerField: 7,
    models.FloatField: 0.25,
}


def odd_circuit(name: str, state: State) -> None:
    """Make a circuit in which no field has its default."""
    values = {"name": name, "state": state.value}
    for field in Circuit._meta.concrete_fields:
        if field.name not in ("id", "urgency", *values):
            by_type = (value for kind, value in BY_TYPE.items() if isinstance(field, kind))
            values[field.name] = VALUES[field.name] if field.name in VALUES else next(by_type)
    circuit = Circuit.objects.create(**values)
    common = {"circuit": circuit, "from_state": state, "to_state": "open", "at": MOMENT}
    more = {"from_mode": "automatic", "to_mode": "observe", "reason": "mode", "actor": "ann"}
    told = {"pending": True, "claimed_until": MOMENT, "delivered_to": "mail", "detail": "words"}
    for generation in (1, 2):
        Transition.objects.create(**common, **more, **told, generation=generation)


def rows() -> dict[str, Rows]:
    """Return the contents of the tables by their columns, without computed columns."""
    found = {}
    with connections[ALIAS].cursor() as cursor:
        for table in {*TABLES} & {*connections[ALIAS].introspection.table_names(cursor)}:
            cursor.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in cursor.description]
            each = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
            found[table] = {row["id"]: {**row, "urgency": None} for row in each}
    return found


def assert_kept(before: dict[str, Rows], after: dict[str, Rows]) -> None:
    """Check that each row is still there, equal in the columns that both versions have."""
    for table in before.keys() & after.keys():
        for pk, old in before[table].items():
            new = after[table][pk]
            both = old.keys() & new.keys()
            assert len(both) > 1
            assert {name: new[name] for name in both} == {name: old[name] for name in both}


def test_every_migration_keeps_every_row_there_and_back(settings: Settings) -> None:
    """Down to the first tables and up again, each step keeps the columns that both versions have.

    A column that a step up adds gets the value that a new circuit has. The circuits of the settings
    are made once the tables match the code, and do not disturb earlier steps.
    """
    named = {"payments": {"threshold": 7}}
    settings.CIRCUITS = {**settings.CIRCUITS, "CIRCUITS": named}
    for state in State:
        odd_circuit(f"a circuit {state}", state)
    Heartbeat.objects.create(name="half_open_expired", at=MOMENT)
    for target in [*reversed(STEPS[:-1]), *STEPS[1:]]:
        before = rows()
        migrate(target)
        assert_kept(before, rows())
        if target == STEPS[0]:
            first_model("Circuit").using(ALIAS).create(name="old")
    assert Circuit.objects.get(name="payments").threshold == 7
    assert Transition.objects.count() == 2 * len(State)
    CircuitFactory(name="new")
    own = {"id", "name", "created_at"}
    old, new = (
        {key: value for key, value in row.items() if key not in own}
        for row in Circuit.objects.filter(name__in=("old", "new")).values()
    )
    assert old == new
    succeed("old")
    with circuits.guard("a circuit open"):
        assert Circuit.objects.get(name="a circuit open").state == "half_open"


def first_model(name: str) -> Any:
    """Return the manager of a model as the first version of the code knows it."""
    loader = MigrationLoader(connections[ALIAS])
    model: Any = loader.project_state([("circuits", STEPS[0])]).apps.get_model("circuits", name)
    return model.objects


def test_every_column_added_since_can_be_left_out_by_older_code() -> None:
    """Otherwise the older code that still runs during an upgrade could not make rows."""
    loader = MigrationLoader(None)
    for name in STEPS[1:]:
        for operation in loader.disk_migrations["circuits", name].operations:
            if isinstance(operation, migrations.AddField):
                field = operation.field
                free = field.null or field.generated or field.has_db_default()
                assert free, f"{name}: {operation.name} needs null or db_default"


# Two versions side by side -----------------------------------------------------------------------

FIELD = '    flavour = models.CharField(max_length=20, default="plain", db_default="plain")\n'

MIGRATION = """
from django.db import migrations, models

FIELD = models.CharField(max_length=20, default="plain", db_default="plain")


class Migration(migrations.Migration):
    dependencies = [("circuits", "{last}")]
    operations = [
        migrations.AddField("circuit", "flavour", FIELD),
        migrations.AddField("transition", "flavour", FIELD),
    ]
"""


@pytest.fixture
def newer(tmp_path: Path) -> Iterator[Path]:
    """Make a newer version of the app, with another field on each model and its migration."""
    app = tmp_path / "circuits"
    shutil.copytree(HERE / "circuits", app, ignore=shutil.ignore_patterns("__pycache__"))
    code, added = re.subn(
        r"(?m)^    (state|from_state) = models", FIELD + r"\g<0>", (app / "models.py").read_text()
    )
    assert added == 2
    (app / "models.py").write_text(code)
    (app / "migrations" / "9999_flavour.py").write_text(MIGRATION.format(last=STEPS[-1]))
    yield tmp_path
    if all("flavour" in row for row in rows()[TABLES[0]].values()):
        run("migrate", newer=tmp_path, target=STEPS[-1])


def run(task: str, *, newer: Path, **arguments: Any) -> Any:
    """Run a function of the worker with the newer code, and return its result."""
    worker = start_worker(task, code=newer, **arguments)
    try:
        let_go(worker)
        return result_of(worker)
    finally:
        worker.kill()


def flavours(table: str) -> set[str]:
    """Return the values of a table in the column that only the newer code knows."""
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(f"SELECT flavour FROM {table}")
        return {flavour for (flavour,) in cursor.fetchall()}


def test_code_from_before_a_field_goes_on_after_the_upgrade(newer: Path) -> None:
    """Older code makes rows, and changes rows of newer code without touching the new column."""
    fail("payments", 2)
    run("migrate", newer=newer, target="9999_flavour")
    where = run("make", newer=newer, name="theirs", flavour="spicy", threshold=3, delay=0)
    assert where.startswith(str(newer)), "the newer code must have run"
    fail("payments", 3)
    refusal("payments")
    succeed("ours")
    circuits.flush()
    assert flavours(TABLES[0]) == {"plain", "spicy"}

    fail("theirs", 3)
    assert half_open_expired() == 1
    runtime.forget()
    succeed("theirs")
    circuits.get("theirs").force_open(actor="ann", reason="maintenance")
    circuits.get("theirs").automatic()
    circuits.flush()
    reasons = Transition.objects.filter(circuit__name="theirs").order_by("generation")
    assert list(reasons.values_list("reason", flat=True)) == [
        "failures",
        "delay_passed",
        "trial_succeeded",
        "mode",
        "mode",
    ]
    assert flavours(TABLES[0]) == {"plain", "spicy"}
    assert flavours(TABLES[1]) == {"plain"}


def test_two_versions_count_and_open_one_circuit_together(newer: Path) -> None:
    """Each failure is counted once, and the opening is one change that both versions obey."""
    run("migrate", newer=newer, target="9999_flavour")
    CircuitFactory(name="payments", threshold=10_000)
    workers = [start_worker("fail", code=code, name="payments", count=30) for code in (None, newer)]
    try:
        let_go(*workers)
        results = [result_of(worker) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [result["made"] for result in results] == [30] * 2
    row = Circuit.objects.get()
    assert (row.state, row.failure_count, row.total_failures) == ("closed", 60, 60)

    Circuit.objects.update(threshold=5)
    assert run("fail", newer=newer, name="payments", count=20)["refused"] > 0
    runtime.forget()
    refusal("payments")
    assert list(Transition.objects.values_list("to_state", flat=True)) == ["open"]


def test_no_outcome_is_lost_while_the_tables_are_migrated(
    newer: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls go on while columns are added and removed, and the row counts each of them."""
    CircuitFactory(name="payments", mode="forced_closed")
    over = Event()

    def go_on(index: int) -> int:
        made = 0
        if index == 0:
            try:
                for target in ("9999_flavour", STEPS[-1]):
                    run("migrate", newer=newer, target=target)
            finally:
                over.set()
        while not over.is_set():
            fail("payments")
            made += 1
        return made

    with caplog.at_level(logging.WARNING, "circuits"):
        made = sum(in_threads(3, go_on))
    assert [record.getMessage() for record in caplog.records] == []
    assert Circuit.objects.get().total_failures == made > 0
