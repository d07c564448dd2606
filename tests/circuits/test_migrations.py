"""The tables: they are made, removed and made again, and refuse wrong values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DataError, IntegrityError, connections
from django.db.models import Model
from pytest_django import Settings

from circuits.apps import create_configured
from circuits.conf import TIMEOUT_LIMITS
from circuits.core.policy import POLICY_LIMITS, Limits
from circuits.models import Circuit, Transition
from tests.factories import CircuitFactory, TransitionFactory

pytestmark = pytest.mark.usefixtures("committed")

ALIAS = "circuits"
LIMITS: dict[str, Limits] = {**POLICY_LIMITS, "timeout": TIMEOUT_LIMITS}


def migrate(*target: str) -> None:
    call_command("migrate", *target, database=ALIAS, verbosity=0)


def has_tables() -> bool:
    tables = set(connections[ALIAS].introspection.table_names())
    return {Circuit._meta.db_table, Transition._meta.db_table} <= tables


def values_of(row: Model) -> dict[str, Any]:
    return type(row)._default_manager.filter(pk=row.pk).values().get()


def test_no_migration_is_missing() -> None:
    call_command("makemigrations", "circuits", check=True, dry_run=True, verbosity=0)


# Circuits named in the settings ----------------------------------------------------------------


@pytest.fixture
def configured(settings: Settings) -> None:
    settings.CIRCUITS = {
        **settings.CIRCUITS,
        "DEFAULTS": {"delay": 3, "timeout": 2},
        "CIRCUITS": {
            "payments": {"threshold": 7, "delay": 5, "probe_url": "https://pay.example/health"},
            "mail": {},
        },
    }


@pytest.fixture
def _tables_again(committed: None) -> Iterator[None]:
    yield
    migrate()


@pytest.mark.usefixtures("configured", "_tables_again")
def test_the_tables_can_be_unmade_and_made_again() -> None:
    migrate("circuits", "zero")
    assert not has_tables()
    migrate("contenttypes")  # another app is migrated while there is no table of ours to fill
    assert not has_tables()
    migrate()
    assert has_tables()
    assert Circuit.objects.count() == 2


@pytest.mark.usefixtures("configured")
def test_the_circuits_of_the_settings_are_there_before_their_first_call() -> None:
    migrate()
    payments, mail = Circuit.objects.get(name="payments"), Circuit.objects.get(name="mail")
    assert (payments.threshold, payments.delay, payments.timeout) == (7, 5, 2)
    assert payments.probe_url == "https://pay.example/health"
    assert (mail.threshold, mail.delay, mail.timeout, mail.probe_url) == (5, 3, 2, "")
    assert {payments.state, mail.state} == {"closed"}


@pytest.mark.usefixtures("configured")
def test_an_upgrade_resets_no_circuit_and_keeps_what_people_have_set() -> None:
    circuit = CircuitFactory.create(name="payments", opened=True, threshold=9, mode="observe")
    TransitionFactory.create(circuit=circuit)
    before = values_of(circuit)
    migrate()
    assert values_of(circuit) == before
    assert circuit.transitions.count() == 1
    assert set(Circuit.objects.values_list("name", flat=True)) == {"payments", "mail"}


@pytest.mark.usefixtures("_tables_again")
def test_the_order_of_the_list_is_made_for_the_circuits_there_are() -> None:
    for circuit in (
        CircuitFactory.create(name="closed"),
        CircuitFactory.create(name="open", opened=True),
        CircuitFactory.create(name="half open", state="half_open"),
        CircuitFactory.create(name="let through", mode="forced_closed"),
    ):
        TransitionFactory.create(circuit=circuit)
    migrate("circuits", "0002")
    migrate("circuits", "0003")
    in_order = Circuit.objects.order_by("urgency").values_list("name", "urgency")
    assert list(in_order) == [("open", 0), ("let through", 1), ("half open", 2), ("closed", 3)]
    assert Transition.objects.count() == 4


@pytest.mark.usefixtures("configured")
def test_no_circuit_is_made_on_the_way_back_to_an_older_table() -> None:
    create_configured(using=ALIAS, plan=[("a migration", True)])
    assert not Circuit.objects.exists()
    create_configured(using=ALIAS, plan=[("a migration", False)])
    assert Circuit.objects.count() == 2


def test_no_circuit_is_made_when_none_is_named() -> None:
    migrate()
    assert not Circuit.objects.exists()


# What the database itself refuses --------------------------------------------------------------


def refuses(row: Model, **values: Any) -> None:
    """Write values that only the database itself checks, and expect it to refuse them."""
    before = values_of(row)
    # By a constraint; or, of a whole number below 0 on MariaDB, by the column's type.
    with pytest.raises((IntegrityError, DataError)):
        type(row)._default_manager.filter(pk=row.pk).update(**values)
    assert values_of(row) == before


def test_the_database_takes_both_ends_of_each_range() -> None:
    circuit = CircuitFactory.create()
    for name, (least, most) in LIMITS.items():
        for value in (least, most):
            Circuit.objects.update(**{name: value})
            assert values_of(circuit)[name] == value


def test_few_constraints_burden_each_update() -> None:
    with connections[ALIAS].cursor() as cursor:
        found = connections[ALIAS].introspection.get_constraints(cursor, Circuit._meta.db_table)
    checks = {name for name, constraint in found.items() if constraint["check"]}
    # SQLite and MariaDB have one for each JSON column besides.
    assert len([name for name in checks if not name.startswith("__unnamed")]) == 3


@pytest.mark.parametrize("value", ["melted", ""])
def test_a_state_or_mode_that_does_not_exist_is_refused(value: str) -> None:
    circuit = CircuitFactory.create()
    refuses(circuit, state=value)
    refuses(circuit, mode=value)


def test_an_open_circuit_without_a_time_to_retry_at_is_refused() -> None:
    refuses(CircuitFactory.create(), state="open")
    refuses(CircuitFactory.create(opened=True), retry_at=None)


def test_no_other_circuit_has_the_same_name() -> None:
    CircuitFactory.create(name="payments")
    other = CircuitFactory.create(name="mail")
    refuses(other, name="payments")


@pytest.mark.parametrize("name", ["Payments", "paymènts", "payments\u200b"])
def test_names_that_are_merely_alike_are_two_circuits(name: str) -> None:
    CircuitFactory.create(name="payments")
    CircuitFactory.create(name=name)
    assert Circuit.objects.get(name=name).name == name


def test_one_change_is_one_row_however_many_report_it() -> None:
    first = TransitionFactory.create()
    other_circuit = TransitionFactory.create(generation=first.generation)
    second = TransitionFactory.create(circuit=first.circuit, generation=first.generation + 1)
    assert Transition.objects.count() == 3
    refuses(second, generation=first.generation)
    refuses(other_circuit, circuit=first.circuit)
