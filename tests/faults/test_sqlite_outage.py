"""The circuits' file is locked, turns read-only, or lies on a full disk."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
from django.conf import settings
from django.db import connections

import circuits
from circuits.models import Circuit, Transition
from circuits.process import runtime
from tests.calls import fail, refusal, succeed
from tests.concurrency import in_processes, wait_until
from tests.factories import CircuitFactory

pytestmark = [
    pytest.mark.usefixtures("committed"),
    pytest.mark.skipif(settings.TEST_DATABASE != "sqlite", reason="a server has no such file"),
]

#: Seconds to wait for another writer, instead of the five of the reference project.
TIMEOUT = 0.3


def row() -> Any:
    return Circuit.objects.get(name="payments")


def came_back() -> bool:
    with suppress(circuits.CircuitOpenError):
        succeed("payments")
    return not runtime.store.is_left


@contextmanager
def connected(**options: Any) -> Iterator[None]:
    """Connect to the circuits' file with other options while the block runs."""
    connection = connections["circuits"]
    where: dict[str, Any] = connection.settings_dict
    kept = {**where, "OPTIONS": {**where["OPTIONS"]}}
    where["NAME"] = options.pop("name", where["NAME"])
    where["OPTIONS"] = {**where["OPTIONS"], **options}
    connection.close()
    try:
        yield
    finally:
        connection.close()
        where.update(kept)


@contextmanager
def opened() -> Iterator[sqlite3.Connection]:
    """Open the file on a separate connection."""
    name = connections["circuits"].settings_dict["NAME"]
    with closing(sqlite3.connect(name, isolation_level=None)) as connection:
        connection.execute("SELECT count(*) FROM circuits_circuit")
        yield connection


def test_a_locked_file_keeps_a_call_no_longer_than_the_busy_timeout() -> None:
    """Promise: calls go on beside a writer that does not end, and are counted when it ends."""
    CircuitFactory(name="payments", threshold=1000)
    with opened() as writer, connected(timeout=TIMEOUT):
        succeed("payments")
        writer.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        fail("payments")
        assert TIMEOUT * 0.9 < time.monotonic() - began < TIMEOUT + 5
        began = time.monotonic()
        fail("payments", 20)
        assert time.monotonic() - began < 5, "the others do not wait"
        writer.execute("ROLLBACK")
        wait_until(came_back)
        fail("payments")
        assert row().total_failures == 1


def test_a_file_that_turns_read_only_is_no_reason_to_stop_protecting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Promise: a store that can be read but not written counts as gone until it can be written."""
    caplog.set_level(logging.WARNING, "circuits")
    CircuitFactory(name="payments", threshold=3, delay=60)
    name = connections["circuits"].settings_dict["NAME"]
    retry_seconds = 1.0
    with opened(), connected(name=f"file:{name}?mode=ro", uri=True):
        succeed("payments")
        fail("payments", 1)  # notices it
        fail("payments", 3)
        until = time.monotonic() + 2.5 * retry_seconds
        while time.monotonic() < until:
            refusal("payments")
            time.sleep(0.05)
        assert row().state == "closed"
    assert sum("does not answer" in message for message in caplog.messages) == 1
    wait_until(came_back)
    assert (row().state, Transition.objects.count()) == ("closed", 0)


def test_a_full_disk_is_no_reason_to_stop_protecting() -> None:
    """Promise: the same holds for a file that cannot grow."""
    CircuitFactory(name="payments", threshold=3, delay=60)
    (told,) = in_processes(1, "fill_the_disk", name="payments")
    # The first failure notices it and is not counted, three open the circuit, the rest are refused.
    assert (told["made"], told["refused"], told["after"]) == (4, 4, 1)
    assert (row().state, row().total_failures) == ("closed", 1)
    assert row().total_successes >= 4
