"""Tallies are written to the database that they were gathered for, and to no other.

tests/projects/test_isolation.py checks the isolation of test runs with whole projects.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connections
from pytest_django import Settings

import circuits
from circuits.models import Circuit, Minute
from tests.calls import succeed
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")


@contextmanager
def another_database() -> Iterator[None]:
    """Let the circuits' alias lead to another database, as a test runner does."""
    settings = connections["circuits"].settings_dict
    kept = settings["NAME"]
    settings["NAME"] = f"{kept}_of_others"
    try:
        yield
    finally:
        settings["NAME"] = kept


def written(name: str) -> int:
    return Circuit.objects.get(name=name).total_successes


@pytest.mark.parametrize("strategy", ["consecutive", "rate"])
def test_it_is_dropped_where_that_database_is_gone(strategy: str) -> None:
    CircuitFactory.create(name="payments", strategy=strategy)
    succeed("payments", 3)
    with another_database():
        circuits.flush()
    circuits.flush()
    assert written("payments") == 0
    assert not Minute.objects.exists()


def test_what_was_known_of_it_is_forgotten_at_the_next_look(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 0}
    CircuitFactory.create(name="payments")
    with another_database():
        # These use a connection that was open before; what the process knows is of that database.
        succeed("payments", 3)
    succeed("payments", 2)
    circuits.flush()
    assert written("payments") == 2
