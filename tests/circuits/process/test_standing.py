"""What a refusal says about its circuit: from memory, wherever and whenever it is read."""

from __future__ import annotations

import asyncio
import traceback
from contextlib import suppress
from time import time

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

import circuits
from circuits.exceptions import Standing
from circuits.models import Circuit, Transition
from circuits.process import entry, results, runtime
from tests.calls import fail, refusal
from tests.clock import Clock
from tests.factories import CircuitFactory
from tests.outage import no_database

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def site(settings: Settings) -> str:
    url = "https://site.example/shop"
    settings.CIRCUITS = {**settings.CIRCUITS, "SITE_URL": url}
    return url


def test_it_says_since_when_why_how_often_and_where_to_look(site: str) -> None:
    fail("payments", 5)
    for _ in range(3):
        refusal("payments")
    circuits.flush()
    runtime.forget()
    told = refusal("payments").standing
    row = Circuit.objects.get()
    assert (told.state, told.mode, told.since) == ("open", "automatic", row.down_since)
    assert (told.refused, told.failed_trials, told.retry_at) == (3, 0, row.retry_at)
    assert told.last_error == "ConnectionError: the remote is down"
    assert told.url == f"{site}/admin/circuits/circuit/{row.pk}/incident/1/"


def test_who_opened_it_knows_the_error_at_once() -> None:
    CircuitFactory(name="payments", last_error="ReadTimeout: long ago")
    fail("payments", 5)
    told = refusal("payments").standing
    assert (told.last_error, told.refused) == ("ConnectionError: the remote is down", 0)


def test_while_it_tries_it_has_no_time_to_retry_at() -> None:
    CircuitFactory(name="payments", expired=True)
    trial = entry.admit("payments")
    told = refusal("payments").standing
    assert (told.state, told.retry_at) == ("half_open", None)
    assert told.since is not None
    assert runtime.opening_of("payments") == 1, "the opening, which is a generation before"
    assert runtime.opening_of("unknown") is None
    results.succeed(trial)


def test_what_a_process_forgets_of_one_circuit_it_knows_of_the_others() -> None:
    CircuitFactory(name="payments", opened=True)
    CircuitFactory(name="rates", opened=True)
    for name in ("payments", "rates"):
        refusal(name)
    runtime.forget_gate("payments")
    runtime.forget_gate("unknown")
    openings = [runtime.opening_of(name) for name in ("payments", "rates")]
    assert openings == [None, 1]


def test_the_link_leads_to_the_incident_also_after_changes_of_the_mode(site: str) -> None:
    fail("payments", 5)
    circuits.get("payments").force_open()
    told = refusal("payments")
    assert told.__notes__[0].startswith("Circuit payments, forced open: down since ")
    assert Transition.objects.count() == 2
    assert told.standing.url.endswith("/incident/2/"), "that generation is part of the incident"


def test_without_the_setting_there_is_no_link() -> None:
    fail("payments", 5)
    assert refusal("payments").standing.url == ""


def test_a_traceback_asks_no_database_in_an_event_loop_or_outside(site: str) -> None:
    fail("payments", 5)
    CircuitFactory(name="rates", opened=True)
    refused = [refusal("payments"), refusal("rates")]
    with CaptureQueriesContext(connections["circuits"]) as queries:
        for each in refused:
            assert f"Circuit {each.name}: down since" in "".join(traceback.format_exception(each))
    assert len(queries) == 0

    async def main() -> str:
        with suppress(circuits.CircuitOpenError):
            async with circuits.guard("payments"):
                pass
        return circuits.CircuitOpenError("payments", 1.0).__notes__[0]  # type: ignore[no-any-return]

    assert asyncio.run(main()).startswith("Circuit payments: down since")


def test_a_process_that_never_saw_the_circuit_names_it_all_the_same() -> None:
    error = circuits.CircuitOpenError("payments", 1.0)
    assert (error.__notes__, error.standing) == (["Circuit payments"], Standing())


def test_in_memory_too_it_is_said_since_when(clock: Clock, site: str) -> None:
    with no_database():
        fail("payments", 5)
        told = refusal("payments").standing
    assert told.since is not None
    assert abs(told.since.timestamp() - time()) < 60
    assert told.retry_at is not None
    assert (told.retry_at - told.since).total_seconds() == pytest.approx(10, abs=0.01)
    assert (told.last_error, told.url) == ("ConnectionError: the remote is down", "")
