"""The breaker's promises about locks, transactions, queries and time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from threading import Event, Semaphore
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.serializers import deserialize
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import include, path, reverse
from django.utils import timezone
from pytest_django import Settings

import circuits
from circuits.core.status import Step
from circuits.models import Circuit, Minute, Transition
from circuits.moments import to_seconds
from circuits.process import asking, entry, results, runtime
from circuits.process.gate import Ticket
from circuits.process.results import BRIEF_SECONDS
from circuits.process.tallies import Taken
from circuits.process.view import View
from circuits.storage.contract import Snapshot
from circuits.storage.database import DatabaseStore
from tests.calls import fail, refusal, succeed
from tests.clock import Clock
from tests.commands import shell
from tests.concurrency import PATIENCE, Meeting, in_threads, in_time, wait_until
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")


def row() -> Any:
    return Circuit.objects.get(name="payments")


# 1. Nothing is locked while a remote call runs


def lock_the_row(index: int = 0) -> bool:
    """Lock the circuit's row, or SQLite's whole file, on a connection that does not wait."""
    with transaction.atomic(using="circuits"):
        return Circuit.objects.select_for_update(nowait=True).filter(name="payments").exists()


def test_the_row_can_be_locked_by_others_while_the_remote_call_of_a_closed_circuit_runs() -> None:
    CircuitFactory(name="payments")
    with circuits.guard("payments"):
        assert in_threads(1, lock_the_row) == [True]


def test_the_row_can_be_locked_by_others_while_a_call_after_a_failure_runs() -> None:
    fail("payments")
    with circuits.guard("payments"):
        assert in_threads(1, lock_the_row) == [True]


def test_the_row_can_be_locked_by_others_while_a_trial_runs() -> None:
    CircuitFactory(name="payments", expired=True)
    with circuits.guard("payments"):
        assert row().state == "half_open"
        assert in_threads(1, lock_the_row) == [True]


# 2. No outcome is rolled back with the caller's transaction


def broken_view(request: HttpRequest) -> HttpResponse:
    """Write to the site's database, call a remote that fails, and fail itself."""
    User.objects.create(username="written by the view")
    circuits.call("payments", request.GET["url"])
    return HttpResponse()


urlpatterns = [path("broken", broken_view), path("", include("mockapi.urls"))]


def test_a_view_in_a_transaction_that_raises_leaves_the_failure_counted(
    remote: str, settings: Settings
) -> None:
    settings.ROOT_URLCONF = __name__
    assert settings.DATABASES["default"]["ATOMIC_REQUESTS"]
    response = Client(raise_request_exception=False).get("/broken", {"url": f"{remote}/faulty"})
    assert response.status_code == 500
    assert not User.objects.exists(), "the view's own work is rolled back"
    assert (row().failure_count, row().total_failures) == (1, 1)


def test_an_opening_outlives_the_rollback_of_the_callers_transaction() -> None:
    with suppress(ZeroDivisionError), transaction.atomic():
        User.objects.create(username="written by the caller")
        fail("payments", 5)
        raise ZeroDivisionError
    assert not User.objects.exists()
    assert row().state == "open"
    assert Transition.objects.count() == 1


# 3. A call on a healthy circuit, and a refusal, takes no lock, writes nothing and asks nothing


class Queries(ExitStack):
    """Counts the queries of this thread, on both databases."""

    def __enter__(self) -> Queries:
        super().__enter__()
        self._captured = [
            self.enter_context(CaptureQueriesContext(connections[alias])) for alias in connections
        ]
        return self

    @property
    def sql(self) -> list[str]:
        return [query["sql"] for captured in self._captured for query in captured]


class Occupant(Mapping[int, int]):
    """An empty mapping of refusals, which holds whoever reads it until the block ends."""

    def __init__(self) -> None:
        self.entered, self._over = Semaphore(0), Event()

    def __call__(self) -> None:
        self.entered.release()
        assert self._over.wait(PATIENCE), "somebody waits for a section to be left"

    def end(self) -> None:
        self._over.set()

    def __iter__(self) -> Iterator[int]:
        self()
        return iter(())

    def __len__(self) -> int:
        return 0

    def __getitem__(self, key: int) -> int:
        raise KeyError(key)


@contextmanager
def others_in_every_section() -> Iterator[None]:
    """Keep another thread in each section of the circuit that only one at a time may enter."""
    gate, occupant = runtime.gate("payments"), Occupant()

    def change(row: Snapshot) -> Step:
        occupant()
        return Step(row.status)

    def swap(view: View[Ticket]) -> View[Ticket]:
        occupant()
        return view

    def share() -> None:
        with gate.sharing:
            occupant()

    works: list[Callable[[], object]] = [
        lambda: asking.change(gate, change),
        lambda: gate.swap(swap),
        lambda: gate.tallies.give_back(Taken(0, 0, occupant, None)),
        share,
    ]
    with ThreadPoolExecutor(len(works)) as pool:
        at_work = [pool.submit(work) for work in works]
        try:
            for _ in works:
                assert occupant.entered.acquire(timeout=PATIENCE)
            yield
            assert not any(work.done() for work in at_work)
        finally:
            occupant.end()
            list(pool.map(lambda _: connections.close_all(), works))
    for work in at_work:
        work.result()


def queries_among_others(work: Callable[[], object]) -> list[str]:
    """Do some work while other threads are in every section, and return its queries."""

    def counted() -> list[str]:
        with Queries() as queries:
            work()
        return queries.sql

    with others_in_every_section():
        return in_time(counted, PATIENCE / 4)


def test_a_success_on_a_fresh_snapshot_asks_and_locks_nothing(clock: Clock) -> None:
    succeed("payments")
    assert queries_among_others(lambda: succeed("payments", 100)) == []


def test_a_refusal_on_a_fresh_snapshot_asks_and_locks_nothing(clock: Clock) -> None:
    CircuitFactory(name="payments", opened=True)
    refusal("payments")
    assert queries_among_others(lambda: [refusal("payments") for _ in range(100)]) == []


def test_what_needs_a_section_waits_for_who_is_in_it(clock: Clock) -> None:
    """This shows that the two tests above can fail: a failure waits."""
    succeed("payments")
    with others_in_every_section(), pytest.raises(TimeoutError):
        in_time(lambda: fail("payments"), Meeting.SECONDS)
    wait_until(lambda: row().failure_count == 1)  # or it would count in another test


def test_an_opening_is_followed_by_refusals_that_ask_nothing(clock: Clock) -> None:
    fail("payments", 5)
    with Queries() as queries:
        refusal("payments")
    assert queries.sql == []


def test_an_aged_snapshot_costs_one_query(clock: Clock) -> None:
    succeed("payments")
    clock.pass_by(0.2)
    with Queries() as queries:
        succeed("payments", 2)
    assert len(queries.sql) == 1


@pytest.mark.parametrize("count", [0, 10], ids=["below", "beyond"])
def test_a_failure_that_opens_nothing_costs_one_update(settings: Settings, count: int) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 60}
    CircuitFactory(name="payments", failure_count=count, run_started_at=timezone.now())
    results.release(entry.admit("payments"))
    with Queries() as queries:
        fail("payments", 2)
    assert (row().state, row().failure_count) == ("closed", count + 2)
    assert [sql.split()[0] for sql in queries.sql] == ["UPDATE", "UPDATE"]


def test_a_change_of_state_is_one_transaction_of_four_round_trips() -> None:
    """Some drivers need another round trip to begin a transaction, which does not count here."""
    CircuitFactory(name="payments", threshold=1, delay=0)
    succeed("payments")
    with Queries() as opening:
        fail("payments")
    with Queries() as trial:
        ticket = entry.admit("payments")
    with Queries() as closing:
        results.succeed(ticket)
    for queries in (opening, trial, closing):
        words = [sql.split()[0] for sql in queries.sql]
        assert words[-4:] == ["SELECT", "UPDATE", "INSERT", "COMMIT"]
        assert words[:-4] in ([], ["BEGIN"])
    assert Transition.objects.count() == 3


@pytest.mark.parametrize("opened", [False, True], ids=["success", "refusal"])
def test_without_snapshots_each_call_costs_one_query(
    clock: Clock, settings: Settings, opened: bool
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 0}
    CircuitFactory(name="payments", opened=opened)
    with Queries() as queries:
        for _ in range(3):
            refusal("payments") if opened else succeed("payments")
    assert len(queries.sql) == 3
    assert all(sql.startswith("SELECT") for sql in queries.sql)


def test_without_snapshots_a_success_that_took_its_time_costs_one_more(
    clock: Clock, settings: Settings
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 0}
    CircuitFactory(name="payments")
    with Queries() as queries, circuits.guard("payments"):
        clock.pass_by(BRIEF_SECONDS)
    assert len(queries.sql) == 2
    assert all(sql.startswith("SELECT") for sql in queries.sql)


def test_a_success_whose_snapshot_has_aged_costs_one_query_which_the_next_call_saves(
    clock: Clock,
) -> None:
    succeed("payments")
    with Queries() as queries:
        with circuits.guard("payments"):
            clock.pass_by(0.2)
        succeed("payments")
    assert len(queries.sql) == 1


def test_what_was_gathered_is_written_by_a_flush_in_two_updates(clock: Clock) -> None:
    succeed("payments")
    circuits.flush()  # the first of the minute
    succeed("payments", 3)
    assert row().total_successes == 1
    with Queries() as queries:
        circuits.flush()
    words = [sql.split()[0] for sql in queries.sql]
    assert [each for each in words if each in ("SELECT", "INSERT", "UPDATE")] == ["UPDATE"] * 2
    assert Minute.objects.values_list("successes", "failures", "refusals").get() == (4, 0, 0)
    now = DatabaseStore().now()
    assert row().total_successes == 4
    assert row().last_success_at == row().last_attempt_at
    assert now - 5 < to_seconds(row().last_success_at) <= now


def test_refusals_are_gathered_and_are_no_attempts(clock: Clock) -> None:
    CircuitFactory(name="payments", opened=True)
    for _ in range(3):
        refusal("payments")
    circuits.flush()
    assert (row().total_refusals, row().total_successes) == (3, 0)
    assert (row().last_attempt_at, row().last_success_at) == (None, None)


def test_a_flush_with_nothing_gathered_asks_nothing() -> None:
    succeed("payments")
    circuits.flush()
    with Queries() as queries:
        circuits.flush()
    assert queries.sql == []


# 4. Time is the database's


@pytest.mark.parametrize("hours", [-1, 1], ids=["slow", "fast"])
def test_a_worker_whose_wall_clock_is_an_hour_wrong_behaves_rightly(hours: int) -> None:
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours), tick=True):
        fail("payments", 5)
        assert 9 < refusal("payments").retry_after <= 10
        assert_just_now(row().opened_at, row().last_failure_at, row().state_changed_at)
        assert 9 < to_seconds(row().retry_at) - DatabaseStore().now() <= 10

        Circuit.objects.update(retry_at=row().opened_at)
        runtime.forget()
        with circuits.guard("payments"):
            assert row().state == "half_open"
        assert row().state == "closed"
        succeed("payments")
        circuits.flush()
        assert_just_now(row().last_success_at, row().last_attempt_at)
        assert_just_now(*Transition.objects.values_list("at", flat=True))
    assert Transition.objects.count() == 3


def _add_in_the_admin() -> None:
    ann = Client()
    ann.force_login(get_user_model().objects.create_superuser("ann"))
    page = reverse("admin:circuits_circuit_add")
    shown = ann.get(page).context["adminform"].form
    policy = {field.name: field.value() for field in shown if field.value() is not None}
    assert ann.post(page, policy | {"name": "payments"}).status_code == 302


def _load_from_a_fixture() -> None:
    rows = [{"model": "circuits.circuit", "fields": {"name": "payments"}}]
    for each in deserialize("json", json.dumps(rows), using="circuits"):
        each.save(using="circuits")


MAKERS: dict[str, Callable[[], object]] = {
    "a call": lambda: succeed("payments"),
    "the command": lambda: shell("circuits", "create", "payments"),
    "the admin": _add_in_the_admin,
    "code": lambda: Circuit.objects.create(name="payments"),
    "code, many": lambda: Circuit.objects.bulk_create([Circuit(name="payments")]),
    "a fixture": _load_from_a_fixture,
}


@pytest.mark.parametrize("hours", [-1, 1], ids=["slow", "fast"])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_circuit_is_made_at_the_databases_time(make: Callable[[], object], hours: int) -> None:
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours), tick=True):
        make()
    assert_just_now(row().created_at)


def test_a_circuit_made_knows_when_and_a_time_that_is_given_stays() -> None:
    assert_just_now(Circuit.objects.create(name="payments").created_at)
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    Circuit.objects.create(name="old", created_at=long_ago)
    assert Circuit.objects.get(name="old").created_at == long_ago


def assert_just_now(*moments: datetime) -> None:
    now = DatabaseStore().now()
    for moment in moments:
        assert now - 5 < to_seconds(moment) <= now + 0.001


def test_the_delay_is_counted_down_by_the_monotonic_clock_without_a_query(
    clock: Clock, settings: Settings
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 60}
    fail("payments", 5)
    with Queries() as queries:
        assert refusal("payments").retry_after == pytest.approx(10)
        clock.pass_by(4)
        assert refusal("payments").retry_after == pytest.approx(6)
        clock.pass_by(5.5)
        assert str(refusal("payments")) == "Retry after 0.50 secs"
    assert queries.sql == []
