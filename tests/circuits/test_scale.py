"""Large tables: the queries of the admin and the tasks all use an index, and are few."""

from __future__ import annotations

from datetime import timedelta
from itertools import cycle

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from circuits.console.paging import BoundedPaginator, HistoryList
from circuits.core.status import Mode, Reason
from circuits.exceptions import TooManyCircuitsError
from circuits.models import Circuit, Transition
from circuits.storage.database import EXPIRE_BATCH, DatabaseStore
from circuits.tasks import half_open_expired, prune
from circuits.upkeep import retention
from tests.factories import CircuitFactory, TransitionFactory
from tests.plans import ALIAS, analyze, detours

pytestmark = pytest.mark.usefixtures("committed")

LIST = reverse("admin:circuits_circuit_changelist")
CHANGES = reverse("admin:circuits_transition_changelist")


def detours_of_page(client: Client, url: str, *, may_sort: bool = False) -> list[str]:
    """Return the queries of a page that use no index; check that the page makes few queries."""

    def ask() -> None:
        assert client.get(url).status_code == 200

    with (
        CaptureQueriesContext(connections["default"]) as site,
        CaptureQueriesContext(connections[ALIAS]) as circuits,
    ):
        found = detours(ask, may_sort=may_sort)
    explained = sum("EXPLAIN" in query["sql"] for query in circuits)
    assert len(site) + len(circuits) - explained < 18
    return found


# The admin's pages -------------------------------------------------------------------------------


def test_the_list_of_circuits_is_read_in_the_order_of_an_index(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedPaginator, "limit", 300)
    Circuit.objects.bulk_create(CircuitFactory.build_batch(10_000))
    Circuit.objects.bulk_create(CircuitFactory.build_batch(60, opened=True))
    long_ago = timezone.now() - timedelta(days=10)
    Transition.objects.bulk_create(
        TransitionFactory.build(circuit=None, circuit_id=pk, at=long_ago)
        for pk in Circuit.objects.values_list("pk", flat=True)
    )
    analyze()
    for query in ("", "?p=2", "?mode__exact=automatic"):
        assert detours_of_page(ann, f"{LIST}{query}", may_sort=True) == []
        # What is sorted are the calls of the circuits on the page, the one heartbeat, and the
        # families that the filter offers, by their members.
        sorts = detours_of_page(ann, f"{LIST}{query}")
        of_rows = [each for each in sorts if "GROUP BY" not in each]
        assert [each for each in of_rows if "circuits_circuit" in each] == []


@pytest.fixture
def flapping() -> Circuit:
    """Make a circuit with most of a long history, beside two thousand with little of it."""
    circuits = CircuitFactory.build_batch(2_000, generation=1_000_000)
    Circuit.objects.bulk_create(circuits)
    pks = list(Circuit.objects.order_by("pk").values_list("pk", flat=True))
    quiet = cycle(pks[1:])
    now = timezone.now()
    Transition.objects.bulk_create(
        TransitionFactory.build(
            circuit=None,
            circuit_id=pks[0] if number % 10 else next(quiet),
            generation=number,
            at=now - timedelta(days=100) * (1 - number / 20_000),
        )
        for number in range(20_000)
    )
    analyze()
    return Circuit.objects.get(pk=pks[0])


def test_the_history_is_read_in_the_order_of_an_index(
    ann: Client, flapping: Circuit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HistoryList, "window", 5_000)
    monkeypatch.setattr(BoundedPaginator, "limit", 300)
    for query in ("", "?p=5", f"?reason__exact={Reason.MODE}", *of_circuit(flapping)):
        assert detours_of_page(ann, f"{CHANGES}{query}") == []
    found = detours_of_page(ann, page(flapping))
    # To add up the minutes of a day, they are sorted; there are never more of them. Nor is there
    # more than one circuit with a key.
    few = ("circuits_minute", "Index Cond: (id = ")
    assert [each for each in found if not any(words in each for words in few)] == []


def test_the_history_of_a_quiet_circuit_is_found_by_an_index(
    ann: Client, flapping: Circuit
) -> None:
    quiet = Circuit.objects.exclude(pk=flapping.pk)[0]
    for query in of_circuit(quiet):
        assert detours_of_page(ann, f"{CHANGES}{query}", may_sort=True) == []
    assert detours_of_page(ann, page(quiet), may_sort=True) == []


def of_circuit(circuit: Circuit) -> list[str]:
    mine = f"?circuit__id__exact={circuit.pk}"
    return [mine, f"{mine}&to_state__exact=open"]


def page(circuit: Circuit) -> str:
    return reverse("admin:circuits_circuit_change", args=[circuit.pk])


def test_what_is_to_be_deleted_is_found_by_an_index(
    flapping: Circuit, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "sleep", lambda seconds: None)
    monkeypatch.setattr(retention, "BATCH", 50)
    settings.CIRCUITS = {**settings.CIRCUITS, "HISTORY_ROWS": 17_500}
    assert detours(prune) == []
    assert Transition.objects.count() == 17_500


# The pass over expired circuits ------------------------------------------------------------------


def queries_of_a_pass(expired: int) -> int:
    Circuit.objects.all().delete()
    Circuit.objects.bulk_create(CircuitFactory.build_batch(100))
    Circuit.objects.bulk_create(CircuitFactory.build_batch(expired, expired=True))
    with CaptureQueriesContext(connections[ALIAS]) as queries:
        assert half_open_expired() == expired
    return len(queries)


def test_a_pass_makes_few_queries_for_each_batch() -> None:
    two, four = (queries_of_a_pass(batches * EXPIRE_BATCH - 1) for batches in (2, 4))
    assert four < 60
    assert four <= 2 * two


def test_the_due_circuits_are_found_by_an_index() -> None:
    Circuit.objects.bulk_create(CircuitFactory.build_batch(3_000))
    Circuit.objects.bulk_create(CircuitFactory.build_batch(600, opened=True))
    Circuit.objects.bulk_create(CircuitFactory.build_batch(600, expired=True))
    analyze()
    assert detours(lambda: DatabaseStore().expire_due(batch=10)) == []


def test_circuits_that_differ_are_each_moved_as_the_machine_says() -> None:
    CircuitFactory.create(name="plain", expired=True)
    CircuitFactory.create(name="ninth", expired=True, generation=9)
    CircuitFactory.create(name="tried", expired=True, trial_successes=2, leases=[["a", 1.5]])
    CircuitFactory.create(name="watched", expired=True, mode=Mode.OBSERVE, reopen_count=3)
    before = {row.name: row for row in Circuit.objects.all()}
    with CaptureQueriesContext(connections[ALIAS]) as queries:
        assert half_open_expired() == 4
    updates = [query for query in queries if query["sql"].startswith("UPDATE")]
    assert sum("circuits_circuit" in query["sql"] for query in updates) == 2
    moments = set()
    for row in Circuit.objects.all():
        old = before[row.name]
        assert (row.state, row.retry_at) == ("half_open", None)
        assert (row.trial_successes, row.leases) == (0, [])
        assert (row.generation, row.mode) == (old.generation + 1, old.mode)
        assert (row.opened_at, row.failure_count) == (old.opened_at, old.failure_count)
        assert row.reopen_count == old.reopen_count
        assert row.transitions.get().generation == row.generation
        moments.add(row.state_changed_at)
    assert len(moments) == 1


# Room for circuits -------------------------------------------------------------------------------


def counts(queries: CaptureQueriesContext) -> int:
    return sum("COUNT(" in query["sql"] for query in queries)


def test_none_are_counted_while_there_is_room_for_sure(settings: Settings) -> None:
    highest = CircuitFactory.create().pk
    settings.CIRCUITS = {**settings.CIRCUITS, "MAX_CIRCUITS": highest + 5}
    with CaptureQueriesContext(connections[ALIAS]) as queries:
        for number in range(5):
            DatabaseStore().read(f"service {number}")
    assert counts(queries) == 0
    assert Circuit.objects.count() == 6


def test_what_was_deleted_makes_room_and_what_is_there_takes_it(settings: Settings) -> None:
    Circuit.objects.bulk_create(CircuitFactory.build_batch(3))
    Circuit.objects.all()[0].delete()
    settings.CIRCUITS = {**settings.CIRCUITS, "MAX_CIRCUITS": 3}
    store = DatabaseStore()
    store.read("the third")
    with pytest.raises(TooManyCircuitsError):
        store.read("the fourth")
    assert Circuit.objects.count() == 3


def test_without_room_for_a_configured_circuit_the_others_recover(settings: Settings) -> None:
    CircuitFactory.create(name="payments", expired=True)
    configured = {"MAX_CIRCUITS": 1, "CIRCUITS": {"mail": {}}}
    settings.CIRCUITS = {**settings.CIRCUITS, **configured}
    with pytest.raises(TooManyCircuitsError):
        half_open_expired()
    assert Circuit.objects.get().state == "half_open"


def test_many_configured_circuits_cost_a_pass_no_more_queries(settings: Settings) -> None:
    def queries_with(number: int) -> int:
        policies: dict[str, dict[str, int]] = {f"service {each}": {} for each in range(number)}
        settings.CIRCUITS = {**settings.CIRCUITS, "CIRCUITS": policies}
        half_open_expired()
        with CaptureQueriesContext(connections[ALIAS]) as queries:
            half_open_expired()
        return len(queries)

    assert queries_with(50) == queries_with(1)
