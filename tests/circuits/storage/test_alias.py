"""The store asks the database that it is given, whatever the site's routers say."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from circuits.core.recording import Call, Ending
from circuits.core.status import Step
from circuits.exceptions import UnknownCircuitError
from circuits.models import Circuit, Heartbeat, Minute, Recording, Transition
from circuits.process import runtime
from circuits.storage import recordings
from circuits.storage.contract import NO_NOTE
from circuits.storage.database import EXPIRY, DatabaseStore
from circuits.storage.families import save_policy
from circuits.storage.nearness import near_misses
from circuits.storage.room import make_room, prune_idle
from tests.calls import fail, succeed
from tests.factories import CircuitFactory, TransitionFactory

pytestmark = pytest.mark.usefixtures("committed")

ALIAS = "circuits"
LONG_AGO = timezone.now() - timedelta(days=40)


@pytest.fixture
def rows(settings: Settings) -> dict[str, Circuit]:
    """Make some circuits; then no router leads to their database any more."""
    made = {
        "payments": CircuitFactory.create(name="payments", threshold=3),
        "payments/own": CircuitFactory.create(name="payments/own", threshold=3),
        "payments/idle": CircuitFactory.create(
            name="payments/idle", threshold=3, last_attempt_at=LONG_AGO
        ),
        "alone/idle": CircuitFactory.create(name="alone/idle", last_attempt_at=LONG_AGO),
        "expired": CircuitFactory.create(name="expired", expired=True),
        "shown": CircuitFactory.create(name="shown", opened=True, refused_at=LONG_AGO),
    }
    TransitionFactory.create(circuit=made["payments/own"], pending=True)
    settings.DATABASE_ROUTERS = []
    return made


@pytest.fixture
def store(rows: dict[str, Circuit]) -> DatabaseStore:
    return DatabaseStore()


def found(name: str) -> Circuit:
    return Circuit.objects.using(ALIAS).get(name=name)


def test_calls_are_counted_there(store: DatabaseStore) -> None:
    succeed("new")
    fail("new", 5)
    runtime.flush()
    row = found("new")
    assert (row.state, row.total_failures, row.total_successes) == ("open", 5, 1)
    assert Transition.objects.using(ALIAS).get(circuit=row.pk).to_state == "open"
    assert Minute.objects.using(ALIAS).get(circuit=row.pk).failures == 5


def test_a_new_member_takes_the_policy_that_its_family_has_there(store: DatabaseStore) -> None:
    assert store.read("payments/new").policy.threshold == 3


def test_circuits_are_read_and_steered_there(store: DatabaseStore) -> None:
    assert set(store.read_all(["payments", "expired", "nowhere"])) == {"payments", "expired"}
    assert store.change("payments", lambda row: Step(row.status)).before.name == "payments"
    assert near_misses("payment") == ["payments", "payments/own", "payments/idle"]
    with pytest.raises(UnknownCircuitError, match="payments"):
        store.steer("payment", lambda row: Step(row.status), NO_NOTE)


def test_what_is_due_is_done_there(store: DatabaseStore, settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "CIRCUITS": {"payments": {}, "configured": {}}}
    assert store.expire_due() == 1
    assert found("expired").state == "half_open"
    assert store.create_configured() == 1
    assert store.create_configured() == 0
    store.touch("payments")
    store.beat(EXPIRY)
    store.beat(EXPIRY)
    assert Heartbeat.objects.using(ALIAS).count() == 1
    assert store.last_beat(EXPIRY) is not None
    assert store.holds_at_least(1)


def test_idle_circuits_are_deleted_there(store: DatabaseStore, settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "MAX_CIRCUITS": 200, "IDLE_DAYS": 30}
    assert prune_idle(ALIAS, store.now()) == 2
    CircuitFactory.build(name="idle", last_attempt_at=LONG_AGO).save(using=ALIAS)
    assert make_room(ALIAS, store.now()) == 1
    names = Circuit.objects.using(ALIAS).values_list("name", flat=True)
    assert set(names) == {"payments", "payments/own", "expired", "shown"}


def test_a_policy_is_carried_to_the_members_there(rows: dict[str, Circuit]) -> None:
    head = rows["payments"]
    head.threshold = 4
    assert save_policy(head, ["threshold"]) == 2
    assert found("payments/own").threshold == 4


def test_calls_are_recorded_there(rows: dict[str, Circuit]) -> None:
    recording = recordings.begin(ALIAS, rows["payments"], 60)
    assert recordings.add(ALIAS, "payments", [Call(recording.since.timestamp(), 0.1, Ending.GOOD)])
    assert len(recordings.read(recording, 10)[0]) == 1
    assert recordings.end(ALIAS, rows["payments"])
    recordings.erase(ALIAS, rows["payments"])
    assert not Recording.objects.using(ALIAS).exists()
