"""Clocks that are wrong: a worker's, the database's, and everybody's twice a year.

No test here waits: the clocks of the worker and of the database are moved separately.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

import circuits
from circuits.models import Circuit, Transition
from circuits.moments import to_datetime, to_seconds
from circuits.process import entry, identity, runtime
from circuits.storage.database import DatabaseStore
from circuits.tasks import half_open_expired
from circuits.upkeep import outbox
from tests import clock as clocks
from tests.calls import fail, play, refusal, succeed
from tests.clock import Clock, DatabaseClock
from tests.factories import CircuitFactory, TransitionFactory

pytestmark = pytest.mark.usefixtures("committed")

HOUR = 3600.0

#: Seconds after which a snapshot is read again.
AGED = 0.2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return clocks.install(monkeypatch)


@pytest.fixture
def database(committed: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseClock]:
    with clocks.database_clock(monkeypatch) as moved:
        yield moved


def row() -> Any:
    return Circuit.objects.get(name="payments")


def become_another_process() -> None:
    """Become a process that knows nothing, and that the circuit does not know."""
    runtime.forget()
    identity.forget()


def let_pass(seconds: float, clock: Clock, database: DatabaseClock) -> None:
    """Let time pass for the worker and for the database."""
    clock.pass_by(seconds)
    database.jump(seconds)


# A worker's clock --------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-1, 1], ids=["back", "forward"])
def test_a_workers_wall_clock_that_jumps_changes_nothing(
    hours: int, clock: Clock, database: DatabaseClock
) -> None:
    """An open circuit refuses for its exact delay, whatever the wall clock does."""
    CircuitFactory(name="payments")
    with time_machine.travel(datetime.now(UTC)) as wall:
        fail("payments", 5)
        let_pass(4, clock, database)
        assert 5.5 < refusal("payments").retry_after <= 6
        wall.shift(timedelta(hours=hours))
        let_pass(4, clock, database)
        assert 1.5 < refusal("payments").retry_after <= 2
        let_pass(2, clock, database)
        assert play("payments", "..") == ".."
    states = list(Transition.objects.order_by("id").values_list("to_state", flat=True))
    assert states == ["open", "half_open", "closed"]


def test_a_worker_whose_clock_runs_fast_asks_the_row_and_is_refused(
    clock: Clock, database: DatabaseClock
) -> None:
    """A worker that believes the delay to be over gets no trial until the database agrees."""
    fail("payments", 5)
    clock.pass_by(100)
    assert 8 < refusal("payments").retry_after <= 10
    let_pass(10, clock, database)
    assert play("payments", ".") == "."
    assert row().state == "closed"


def test_a_worker_whose_clock_runs_slow_waits_no_longer_than_its_snapshot(
    clock: Clock, database: DatabaseClock
) -> None:
    """A worker whose clock hardly moves tries a circuit as soon as it reads the row again."""
    fail("payments", 5)
    database.jump(10)
    refusal("payments")  # by its fresh snapshot
    clock.pass_by(AGED)
    assert play("payments", ".") == "."


# The database's clock ----------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-HOUR, HOUR], ids=["back", "forward"])
def test_an_open_circuit_outlives_no_jump_of_the_databases_clock(
    jump: float, clock: Clock, database: DatabaseClock
) -> None:
    """After a jump of an hour in either direction, the next call is a trial, without a wait."""
    fail("payments", 5)
    database.jump(jump)
    clock.pass_by(AGED)
    assert circuits.get("payments").retry_after == 0
    assert play("payments", ".") == "."
    assert row().state == "closed"


def test_a_trial_after_a_clock_set_back_that_fails_opens_for_a_whole_delay(
    clock: Clock, database: DatabaseClock
) -> None:
    """A circuit whose remote is still down goes on as usual, by the new time."""
    fail("payments", 5)
    database.jump(-HOUR)
    clock.pass_by(AGED)
    fail("payments")
    assert 9 < refusal("payments").retry_after <= 10
    let_pass(10, clock, database)
    assert play("payments", ".") == "."


def test_a_clock_set_back_within_the_delay_adds_no_more_than_that(
    clock: Clock, database: DatabaseClock
) -> None:
    """A delay lasts at most twice as long: only the part that had passed may be lost."""
    fail("payments", 5)
    let_pass(8, clock, database)
    database.jump(-7)
    clock.pass_by(AGED)
    assert 8 < refusal("payments").retry_after <= 9


def test_servers_that_differ_by_a_little_let_nothing_through_early(
    clock: Clock, database: DatabaseClock
) -> None:
    """A failover to a server half a second behind opens no hole in a circuit just opened."""
    fail("payments", 5)
    database.jump(-0.5)
    clock.pass_by(AGED)
    assert refusal("payments").retry_after > 9


def test_what_people_see_is_what_callers_get_after_a_clock_set_back(
    clock: Clock, database: DatabaseClock
) -> None:
    """The admin does not announce an hour of waiting where the next call is let through."""
    fail("payments", 5)
    CircuitFactory(name="trying", state="half_open", leases=[["dead", DatabaseStore().now() + 30]])
    database.jump(-HOUR)
    ann = Client()
    ann.force_login(get_user_model().objects.create_superuser("ann"))
    page = ann.get(reverse("admin:circuits_circuit_change", args=[row().pk])).content.decode()
    assert "The delay has passed: the next call is let through to try." in page
    entries = {each["name"]: each for each in ann.get("/circuits/health/").json()["circuits"]}
    assert entries["payments"]["retry_in"] == 0


@pytest.mark.parametrize("jump", [-HOUR, HOUR], ids=["back", "forward"])
def test_a_trial_whose_holder_died_wedges_nothing_after_a_jump(
    jump: float, clock: Clock, database: DatabaseClock
) -> None:
    """A lease lasts no longer than its own length, even if its recorded end is an hour ahead."""
    CircuitFactory(name="payments", expired=True)
    entry.admit("payments")  # and never settles
    runtime.forget()
    refusal("payments")
    database.jump(jump)
    clock.pass_by(AGED)
    assert play("payments", ".") == "."
    assert row().state == "closed"


@pytest.mark.parametrize("jump", [-HOUR, HOUR], ids=["back", "forward"])
def test_a_shared_run_of_failures_opens_after_a_jump(
    jump: float, clock: Clock, database: DatabaseClock
) -> None:
    """Processes that each see a few failures open the circuit, even if the run's start is wrong."""
    for _ in range(4):
        fail("payments")
        become_another_process()
    assert (row().state, row().failure_count) == ("closed", 4)
    database.jump(jump)
    fail("payments")
    assert row().state == "open"


def test_a_shared_run_is_too_young_only_while_it_is_young(
    clock: Clock, database: DatabaseClock
) -> None:
    """The opening rule still holds: a run that has just begun opens nothing."""
    for _ in range(8):
        fail("payments")
        become_another_process()
    assert (row().state, row().failure_count) == ("closed", 8)
    database.jump(AGED)
    fail("payments")
    assert row().state == "open"


@pytest.mark.parametrize("jump", [-HOUR, HOUR], ids=["back", "forward"])
def test_a_ramp_up_ends_after_a_jump(jump: float, clock: Clock, database: DatabaseClock) -> None:
    """A recovered circuit takes all its traffic again after its ramp-up, not an hour later."""
    recovered = to_datetime(DatabaseStore().now())
    CircuitFactory(name="payments", ramp_up_seconds=30, recovered_at=recovered)
    assert "r" in play("payments", "." * 200)
    database.jump(jump)
    clock.pass_by(AGED)
    assert play("payments", "." * 200) == "." * 200


@pytest.mark.parametrize("jump", [-HOUR, HOUR], ids=["back", "forward"])
def test_a_failure_rate_is_taken_anew_after_a_jump(
    jump: float, clock: Clock, database: DatabaseClock
) -> None:
    """Outcomes from before the jump are forgotten, and those after it still open the circuit."""
    CircuitFactory(name="payments", strategy="rate", minimum_calls=10)
    succeed("payments", 1000)
    circuits.flush()
    database.jump(jump)
    clock.pass_by(HOUR)
    play("payments", "f" * 10)
    assert row().state == "open"


@pytest.mark.parametrize("jump", [-HOUR, HOUR], ids=["back", "forward"])
def test_the_task_moves_what_is_due_after_a_jump(jump: float, database: DatabaseClock) -> None:
    """Beat moves no circuit too early, and a circuit that opened after the jump in time."""
    database.jump(jump)
    fail("payments", 5)
    assert half_open_expired() == 0
    database.jump(10)
    assert half_open_expired() == 1
    assert DatabaseStore().last_beat("half_open_expired") is not None
    assert row().state == "half_open"


def test_a_notice_claimed_before_a_clock_was_set_back_is_told(
    settings: Settings, database: DatabaseClock
) -> None:
    """A process that died while sending a notice delays it by the claim, not by the jump."""
    settings.CIRCUITS = {**settings.CIRCUITS, "NOTIFY": {"EMAILS": ["rota@site.example"]}}
    TransitionFactory(pending=True)
    store = DatabaseStore()
    assert len(list(outbox.claim(store))) == 1  # and the process dies
    assert list(outbox.claim(store)) == []
    database.jump(-HOUR)
    assert len(list(outbox.claim(store))) == 1


# Daylight saving ---------------------------------------------------------------------------------

AMSTERDAM = ZoneInfo("Europe/Amsterdam")

#: When the clocks of Amsterdam go forward (2:00 to 3:00) and back (3:00 to 2:00), in seconds since
#: 1970.
SPRING = datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp()
AUTUMN = datetime(2026, 10, 25, 1, tzinfo=UTC).timestamp()


@pytest.fixture(params=[True, False], ids=["USE_TZ", "no USE_TZ"])
def amsterdam(request: pytest.FixtureRequest, settings: Settings) -> None:
    """A site in a time zone with daylight saving, with aware and with naive times."""
    settings.TIME_ZONE = "Europe/Amsterdam"
    settings.USE_TZ = request.param


@pytest.mark.usefixtures("amsterdam")
@pytest.mark.parametrize("change", [SPRING, AUTUMN], ids=["spring", "autumn"])
@pytest.mark.parametrize("minutes", [-60, -30, -0.1, 0, 30, 60])
@pytest.mark.parametrize("delay", [10, 1200])
def test_a_delay_is_served_to_the_second_in_the_night_the_clocks_change(
    clock: Clock, database: DatabaseClock, change: float, minutes: float, delay: float
) -> None:
    """In an hour that comes twice, or never, a circuit waits neither longer nor shorter."""
    CircuitFactory(name="payments", delay=delay)
    database.set(change + minutes * 60)
    fail("payments", 5)
    runtime.forget()
    assert delay - 1 < refusal("payments").retry_after <= delay
    let_pass(delay - 2, clock, database)
    runtime.forget()
    assert 1 < refusal("payments").retry_after <= 2
    assert half_open_expired() == 0
    let_pass(2, clock, database)
    runtime.forget()
    assert play("payments", ".") == "."
    assert row().state == "closed"


@pytest.mark.usefixtures("amsterdam")
@pytest.mark.parametrize("change", [SPRING, AUTUMN], ids=["spring", "autumn"])
@pytest.mark.parametrize("minutes", [-30, 0, 30])
def test_a_shared_run_opens_in_the_night_the_clocks_change(
    clock: Clock, database: DatabaseClock, settings: Settings, change: float, minutes: float
) -> None:
    """A run that began before the clocks changed opens the circuit after that, and not earlier."""
    aged = 20  # seconds, in which any machine counts six failures
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": aged}
    database.set(change + minutes * 60 - aged)
    for _ in range(6):
        fail("payments")
        become_another_process()
    assert (row().state, row().failure_count) == ("closed", 6)
    database.jump(2 * aged)
    fail("payments")
    assert row().state == "open"


@pytest.mark.usefixtures("amsterdam")
@pytest.mark.parametrize("minutes", [-30, 0, 30])
def test_a_circuit_can_be_looked_at_in_an_hour_that_comes_twice(
    database: DatabaseClock, minutes: float
) -> None:
    """The admin and the health page show what happened just now as just now."""
    database.set(AUTUMN + minutes * 60)
    fail("payments", 5)
    half_open_expired()
    ann = Client()
    ann.force_login(get_user_model().objects.create_superuser("ann"))
    page = ann.get(reverse("admin:circuits_circuit_change", args=[row().pk])).content.decode()
    assert "0 seconds ago" in page
    _, _, status = page.partition('data-circuits-part="status"')
    assert "hour" not in status.partition("</section>")[0]
    health = ann.get("/circuits/health/").json()
    assert health["beat"]["status"] == "ok"
    assert 5 < health["circuits"][0]["retry_in"] <= 10  # a page takes a while on a busy machine


@pytest.mark.parametrize("active", ["Pacific/Auckland", "America/New_York"])
def test_the_time_zone_of_a_visitor_moves_nothing(
    settings: Settings, clock: Clock, active: str
) -> None:
    """Without USE_TZ, a request that activates its user's time zone reads the same times."""
    settings.USE_TZ = False
    CircuitFactory(name="payments")
    fail("payments", 5)
    with timezone.override(active):
        runtime.forget()
        assert 9 < refusal("payments").retry_after <= 10
        Circuit.objects.update(state="closed", failure_count=0, retry_at=None, opened_at=None)
        runtime.forget()
        fail("payments", 5)
    runtime.forget()
    assert 9 < refusal("payments").retry_after <= 10


def test_naive_times_come_back_as_they_went(settings: Settings) -> None:
    """Every moment near a change of clocks is read back as itself, with the context of the row."""
    settings.TIME_ZONE, settings.USE_TZ = "Europe/Amsterdam", False
    for change in (SPRING, AUTUMN):
        for seconds in range(-7200, 7201, 300):
            moment = change + seconds + 0.25
            kept = to_datetime(moment).replace(fold=0)  # as a database forgets it
            assert to_seconds(kept, until=moment + 60) == moment
            assert to_seconds(kept, since=moment - 60) == moment
