"""SQLite's file is locked, may not be written to, or has no room left: calls go on all the same."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from typing import Any

import pytest
from django.conf import settings as configured
from django.db import connections

import circuits
from circuits import breaker
from circuits.models import Circuit, Transition
from tests.calls import fail, refusal, succeed
from tests.concurrency import in_processes, wait_until
from tests.factories import CircuitFactory

pytestmark = [
    pytest.mark.usefixtures("committed"),
    pytest.mark.skipif(configured.TEST_DATABASE != "sqlite", reason="the others are no files"),
]

ALIAS = "circuits"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nobody wait for a lock for long, so that the test need not either."""
    connections[ALIAS].close()
    options = {**connections[ALIAS].settings_dict["OPTIONS"], "timeout": 0.2}
    monkeypatch.setitem(connections[ALIAS].settings_dict, "OPTIONS", options)
    yield
    connections[ALIAS].close()


def file() -> str:
    return str(connections[ALIAS].settings_dict["NAME"])


@contextmanager
def locked() -> Iterator[None]:
    """Hold the one lock of all who write."""
    with closing(sqlite3.connect(file(), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def read_only() -> Iterator[None]:
    """Open the file as one may that is not allowed to write to it."""
    name = file()
    connections[ALIAS].close()
    connections[ALIAS].settings_dict["NAME"] = f"file:{name}?mode=ro"
    try:
        yield
    finally:
        connections[ALIAS].close()
        connections[ALIAS].settings_dict["NAME"] = name


def row() -> Any:
    return Circuit.objects.get(name="payments")


def came_back() -> bool:
    with suppress(circuits.CircuitOpenError):
        succeed("payments")
    return not breaker.store._down


@pytest.mark.parametrize("broken", [locked, read_only])
def test_calls_go_on_the_process_protects_itself_and_the_shared_state_comes_back(
    broken: Callable[[], AbstractContextManager[None]], caplog: pytest.LogCaptureFixture
) -> None:
    """Promise: nobody's call fails for the store, and nothing is counted twice."""
    caplog.set_level(logging.WARNING, "circuits")
    CircuitFactory.create(name="payments", threshold=3, delay=0.01)
    succeed("payments", 2)
    with broken():
        fail("payments", 4)  # the first of which finds out
        assert refusal("payments").retry_after <= 0.01
    assert (row().state, row().failure_count) == ("closed", 0)
    wait_until(came_back)
    circuits.flush()
    assert (row().state, row().total_failures) == ("closed", 0)
    assert not Transition.objects.exists()
    assert sum("does not answer" in message for message in caplog.messages) == 1
    assert sum("answers again" in message for message in caplog.messages) == 1
    fail("payments", 3)
    assert row().state == "open"


def test_a_full_disk_fails_no_call_and_harms_no_row() -> None:
    """Promise: what cannot be written for want of room is made up for by the process itself."""
    CircuitFactory.create(name="payments", threshold=3, delay=60)
    connections[ALIAS].close()
    (seen,) = in_processes(1, "hold", where="on_a_full_disk", name="payments")
    # The first of the four found out that nothing can be written.
    assert seen == {"let_through": 4, "closed": True}
    assert (row().state, row().total_failures) == ("closed", 0)
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("PRAGMA integrity_check")
        assert cursor.fetchone() == ("ok",)
