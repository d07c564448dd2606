"""Tallies are written to the database that they were gathered for, and to no other.

tests/projects/test_isolation.py checks the isolation of test runs with whole projects.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from pytest_django import Settings

import circuits
from circuits.models import Circuit, Minute
from circuits.storage import identity, testruns
from tests.calls import succeed
from tests.concurrency import in_threads
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


# Where a test keeps its circuits


def test_a_test_database_is_used_and_the_real_one_is_not(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    assert not testruns.is_in_memory("circuits"), "the runner has made a test database"
    place = connections.settings["circuits"]
    monkeypatch.setattr(identity, "is_renamed", lambda alias: False)
    monkeypatch.setitem(place, "TEST", {"NAME": place["NAME"]})
    assert not testruns.is_in_memory("circuits"), "the settings give both the same name"
    for name in ("another", None):
        monkeypatch.setitem(place, "TEST", {"NAME": name})
        assert testruns.is_in_memory("circuits")
    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", lambda self: None)
    assert not testruns.is_in_memory("circuits"), "the runner forbids it, and should say so"


def test_a_site_may_ask_for_memory(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "TEST_IN_MEMORY": True}
    assert testruns.is_in_memory("circuits")
    settings.CIRCUITS = {**settings.CIRCUITS, "TEST_IN_MEMORY": False}
    assert not testruns.is_in_memory("circuits")


# The connection that a test lends


@pytest.fixture
def _lent() -> Iterator[None]:
    connections["circuits"].ensure_connection()
    testruns.lend()
    yield
    testruns.lend()


def used(_index: int = 0) -> object:
    """Return the connection that this thread would use."""
    return testruns.connection("circuits")


@pytest.mark.usefixtures("_lent")
def test_other_threads_use_a_tests_connection_in_its_transaction_alone() -> None:
    own = connections["circuits"]
    assert in_threads(1, used) != [own], "a file can have several"
    with transaction.atomic(using="circuits"):
        assert in_threads(1, used) == [own]
        testruns.take_back()
        assert in_threads(1, used) != [own]
        testruns.lend()
        testruns.forget()
        assert in_threads(1, used) != [own], "a forked child has its own"


@pytest.mark.usefixtures("_lent")
@pytest.mark.parametrize(("vendor", "is_lent"), [("sqlite", True), ("postgresql", False)])
def test_a_database_in_memory_has_one_connection(
    monkeypatch: pytest.MonkeyPatch, vendor: str, is_lent: bool
) -> None:
    own = connections["circuits"]
    monkeypatch.setattr(own, "vendor", vendor)
    monkeypatch.setattr(own, "is_in_memory_db", lambda: True, raising=False)
    assert (in_threads(1, used) == [own]) is is_lent


@pytest.mark.usefixtures("_lent")
def test_a_thread_sees_what_the_test_has_written_and_not_committed() -> None:
    def count(_index: int) -> int:
        before = connections["circuits"]
        with testruns.using("circuits"):
            number = Circuit.objects.count()
        assert connections["circuits"] is before
        assert before.connection is None, "its own would keep the database from being dropped"
        return number

    with transaction.atomic(using="circuits"):
        CircuitFactory.create(name="payments")
        assert in_threads(2, count) == [1, 1]


@pytest.mark.usefixtures("_lent")
def test_a_connection_of_a_thread_is_closed_after_its_use() -> None:
    def count(_index: int) -> bool:
        with testruns.using("circuits"):
            Circuit.objects.count()
        return connections["circuits"].connection is None

    assert in_threads(1, count) == [True]
    with testruns.using("circuits"):
        Circuit.objects.count()
    assert connections["circuits"].connection is not None, "the test's own stays open"


def open_connections() -> list[str]:
    return [alias for alias in connections if connections[alias].connection is not None]


def test_a_test_begins_and_ends_with_nothing_known() -> None:
    calls: list[str] = []
    assert testruns.forgets(forget := lambda: calls.append("forgotten")) is forget
    for alias in connections:
        connections[alias].ensure_connection()
    testruns.begin_test()
    assert calls == ["forgotten"]
    assert open_connections() == ["default"]
    with transaction.atomic(using="circuits"):
        testruns.end_test()
        assert "circuits" in open_connections(), "the runner rolls it back"
    assert calls == ["forgotten"] * 2
    with transaction.atomic(using="circuits"):
        assert in_threads(1, used) != [connections["circuits"]], "nothing is lent any more"
