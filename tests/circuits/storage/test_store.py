"""A circuit's row: how it is made, kept, changed and announced."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connections, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

import circuits
from circuits import once_a_minute
from circuits.core import latency
from circuits.core.budget import Spending
from circuits.core.status import Batch, Change, Mode, Reason, State, Status, Step
from circuits.core.windows import Counts
from circuits.models import ACTOR_LENGTH, BUCKETS, Circuit, Heartbeat, Minute, Transition
from circuits.moments import to_datetime, to_seconds
from circuits.process import asking, entry, runtime
from circuits.process.gate import Gate
from circuits.signals import state_changed
from circuits.storage.announce import announce
from circuits.storage.contract import NO_NOTE, Changed, Note, Snapshot, Tally
from circuits.storage.database import DatabaseStore
from circuits.storage.errors import InDoubtError
from tests.calls import fail, refusal, succeed
from tests.clock import Clock, database_clock
from tests.concurrency import in_processes, in_threads
from tests.factories import CircuitFactory, TransitionFactory

pytestmark = pytest.mark.usefixtures("committed")


def row() -> Any:
    return Circuit.objects.get(name="payments")


def set_circuits(settings: Settings, **values: Any) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, **values}


# Made at the first use


def test_a_circuit_is_made_at_its_first_call_from_the_settings(settings: Settings) -> None:
    set_circuits(
        settings,
        DEFAULTS={"threshold": 7, "delay": 20.0},
        CIRCUITS={"payments": {"delay": 30.0, "probe_url": "http://remote/health"}},
    )
    succeed("payments")
    assert (row().threshold, row().delay) == (7, 30)
    assert row().probe_url == "http://remote/health"
    succeed("orders")
    assert Circuit.objects.get(name="orders").delay == 20


def test_once_made_a_circuit_keeps_the_values_of_the_admin(
    clock: Clock, settings: Settings
) -> None:
    set_circuits(settings, DEFAULTS={"threshold": 7})
    succeed("payments")
    Circuit.objects.update(threshold=2)
    set_circuits(settings, DEFAULTS={"threshold": 9}, CIRCUITS={"payments": {"threshold": 9}})
    runtime.forget()
    DatabaseStore().create_configured()
    fail("payments", 2)
    refusal("payments")
    assert row().threshold == 2


def test_one_circuit_too_many_is_refused_and_nothing_is_kept_of_it(settings: Settings) -> None:
    set_circuits(settings, MAX_CIRCUITS=2)
    for name in ("payments", "orders"):
        succeed(name)
    with pytest.raises(circuits.TooManyCircuitsError, match="one too many"):
        succeed("one too many")
    assert set(Circuit.objects.values_list("name", flat=True)) == {"payments", "orders"}
    assert set(runtime.gates) == {"payments", "orders"}
    succeed("payments")


@pytest.mark.parametrize("name", ["", "a\x00b", "x" * 101, " payments"])
def test_a_name_that_cannot_be_is_refused_and_nothing_is_kept_of_it(name: str) -> None:
    with pytest.raises(circuits.InvalidInputError, match="name"):
        entry.admit(name)
    assert not Circuit.objects.exists()
    assert not runtime.gates


def test_names_are_the_same_only_to_the_letter() -> None:
    for name in ("payments", "Payments", "päyments"):
        succeed(name)
    assert Circuit.objects.count() == 3


def test_the_circuits_in_the_settings_are_made_before_their_first_call(
    settings: Settings,
) -> None:
    set_circuits(settings, CIRCUITS={"payments": {"threshold": 3}, "orders": {}})
    succeed("orders")
    assert DatabaseStore().create_configured() == 1
    assert DatabaseStore().create_configured() == 0
    assert row().threshold == 3


# Kept


def test_a_circuit_deleted_under_a_running_process_is_made_anew(clock: Clock) -> None:
    CircuitFactory(name="payments")
    circuits.get("payments").observe()
    circuits.get("payments").automatic()
    succeed("payments")
    Circuit.objects.all().delete()
    succeed("payments")
    assert not Circuit.objects.exists(), "a call that changes nothing goes on as before"
    fail("payments")
    assert (row().state, row().generation) == ("closed", 0)
    fail("payments", 5)
    refusal("payments")


def test_a_flush_for_a_deleted_circuit_is_no_error() -> None:
    succeed("payments")
    Circuit.objects.all().delete()
    circuits.flush()
    assert not Circuit.objects.exists()


def test_a_restart_and_an_upgrade_leave_an_open_circuit_as_it_is() -> None:
    fail("payments", 5)
    before = Circuit.objects.values().get()
    runtime.forget()
    call_command("migrate", database="circuits", verbosity=0)
    assert Circuit.objects.values().get() == before
    assert in_processes(1, "fail", name="payments", count=1)[0]["refused"] == 1


def test_a_restart_and_an_upgrade_leave_a_forced_circuit_as_it_is() -> None:
    CircuitFactory(name="payments")
    circuits.get("payments").force_open(actor="ann")
    before = Circuit.objects.values().get()
    runtime.forget()
    call_command("migrate", database="circuits", verbosity=0)
    assert Circuit.objects.values().get() == before
    assert in_processes(1, "fail", name="payments", count=1)[0]["refused"] == 1


# Changed


def test_forced_modes_are_obeyed_by_every_process(clock: Clock) -> None:
    other = Gate("payments", DatabaseStore())
    asking.admit(other)
    circuits.get("payments").force_open()
    clock.pass_by(0.2)
    with pytest.raises(circuits.CircuitOpenError):
        asking.admit(other)
    circuits.get("payments").force_closed()
    assert (row().state, row().mode) == ("closed", Mode.FORCED_CLOSED)
    clock.pass_by(0.2)
    asking.admit(other)


def test_a_failure_is_written_with_its_time_and_its_error() -> None:
    fail("payments")
    now = DatabaseStore().now() + 0.001  # SQLite's clock counts milliseconds
    assert now - 5 < to_seconds(row().last_failure_at) <= now
    assert row().last_failure_at == row().last_attempt_at == row().run_started_at
    assert row().last_error == "ConnectionError: the remote is down"


def test_the_opening_is_written_with_its_reason_and_its_error() -> None:
    fail("payments", 5)
    transition = Transition.objects.get()
    assert (transition.from_state, transition.to_state) == ("closed", "open")
    assert (transition.reason, transition.generation) == ("failures", 1)
    assert transition.detail == "ConnectionError: the remote is down"
    assert transition.at == row().state_changed_at == row().opened_at
    assert row().retry_at == row().opened_at + timedelta(seconds=row().delay)


def test_a_change_by_a_person_is_written_with_their_name_and_their_words() -> None:
    CircuitFactory(name="payments")
    assert circuits.get("payments").force_open(actor="ann", reason="maintenance")
    transition = Transition.objects.get()
    assert (transition.actor, transition.detail) == ("ann", "maintenance")
    assert (transition.from_mode, transition.to_mode) == ("automatic", "forced_open")
    assert not circuits.get("payments").force_open(actor="bob"), "it is so already"
    assert Transition.objects.count() == 1


def test_a_trial_that_succeeds_is_written_at_once() -> None:
    CircuitFactory(name="payments", expired=True)
    succeed("payments")
    assert row().state == "closed"
    assert row().last_success_at == row().last_attempt_at == row().state_changed_at


def test_a_site_without_time_zones_keeps_the_same_moments(settings: Settings) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Tokyo"
    assert timezone.is_naive(to_datetime(0))
    assert to_seconds(to_datetime(1_000_000_000.25)) == 1_000_000_000.25
    fail("payments", 5)
    assert 9 < refusal("payments").retry_after <= 10
    assert abs(to_seconds(row().opened_at) - DatabaseStore().now()) < 5


# Told


@contextmanager
def receiving(receive: Callable[..., None]) -> Iterator[None]:
    state_changed.connect(receive)
    try:
        yield
    finally:
        state_changed.disconnect(receive)


def test_each_change_is_told_once_after_its_commit() -> None:
    told: list[tuple[str, str, str]] = []

    def receive(*, name: str, transition: Transition, **_: Any) -> None:
        # Another connection sees only what is committed.
        (committed,) = in_threads(1, lambda index: Circuit.objects.get(name=name).state)
        told.append((name, transition.to_state, committed))

    with receiving(receive):
        fail("payments", 5)
        Circuit.objects.update(retry_at=row().opened_at)
        runtime.forget()
        succeed("payments")
    assert told == [
        ("payments", "open", "open"),
        ("payments", "half_open", "half_open"),
        ("payments", "closed", "closed"),
    ]


def test_the_signal_carries_the_row_of_the_history() -> None:
    told: list[Transition] = []

    def receive(*, transition: Transition, **_: Any) -> None:
        told.append(transition)

    with receiving(receive):
        fail("payments", 5)
    assert told == list(Transition.objects.all())
    assert told[0].circuit == row()
    assert str(told[0]) == "payments: closed -> open"


def test_a_receiver_that_raises_breaks_no_call() -> None:
    def receive(**_: Any) -> None:
        raise ZeroDivisionError

    with receiving(receive):
        fail("payments", 5)
    refusal("payments")


def test_a_receiver_may_call_through_the_same_circuit() -> None:
    refused: list[float] = []

    def receive(**_: Any) -> None:
        refused.append(refusal("payments").retry_after)

    def call() -> None:
        fail("payments", 5)
        connections.close_all()

    with receiving(receive):
        caller = Thread(target=call, daemon=True)
        caller.start()
        caller.join(10)
    assert not caller.is_alive(), "the caller waits for itself"
    assert len(refused) == 1


# In a transaction of the site, on an alias that it shares with the circuits


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Yield a list of the states that the signal announces."""
    states: list[str] = []

    def receive(transition: Transition, **kwargs: Any) -> None:
        states.append(transition.to_state)

    state_changed.connect(receive)
    yield states
    state_changed.disconnect(receive)


def test_a_change_is_told_of_after_the_commit_it_is_part_of(
    told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with transaction.atomic(using="circuits"):
        fail("payments", 5)
        assert Circuit.objects.get().state == "open"
        assert told == []
        assert "Changed state" not in caplog.text
    assert told == ["open"]
    assert "Changed state from closed to open (payments)" in caplog.text


def test_a_change_that_is_rolled_back_is_not_told_of(
    told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with suppress(RuntimeError), transaction.atomic(using="circuits"):
        fail("payments", 5)
        assert Circuit.objects.get().state == "open"
        raise RuntimeError
    assert told == []
    assert "Changed state" not in caplog.text


def test_a_store_that_fails_in_the_sites_transaction_leaves_it_whole() -> None:
    def refuse(execute: Any, sql: str, *args: Any) -> Any:
        if '"circuits_circuit"' in sql or "`circuits_circuit`" in sql:
            raise OperationalError("no answer")
        return execute(sql, *args)

    with transaction.atomic(using="circuits"):
        Heartbeat.objects.create(name="of the site", at=timezone.now())
        with connections["circuits"].execute_wrapper(refuse):
            fail("payments", 5)
        assert Heartbeat.objects.count() == 1
    assert Heartbeat.objects.count() == 1


def test_the_log_says_why_since_when_what_was_refused_and_where_to_look(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SITE_URL": "https://site.example"}
    caplog.set_level("INFO", "circuits")
    fail("payments", 5)
    page = f"https://site.example/admin/circuits/circuit/{Circuit.objects.get().pk}/incident/1/"
    error = "ConnectionError: the remote is down"
    assert caplog.messages == [
        f"Changed state from closed to open (payments): failures: {error}; "
        f"next trial in 10.0 s; {page}"
    ]
    for way in ("fails", "succeeds"):
        moved = {column: F(column) - timedelta(minutes=5) for column in ("down_since", "retry_at")}
        Circuit.objects.update(total_refusals=3752, **moved)
        runtime.forget()
        caplog.clear()
        (fail if way == "fails" else succeed)("payments")
        expired, tried = caplog.messages
        assert expired.startswith(
            "Changed state from open to half_open (payments): delay passed; down for "
        )
        assert expired.endswith(f"calls refused: 3752; {page}")
        if way == "fails":
            assert f": trial failed: {error}; down for 3" in tried
            assert tried.endswith(
                f"; failed trials: 1; calls refused: 3752; next trial in 10.0 s; {page}"
            )
        else:
            assert ": trial succeeded; down for 6" in tried
            assert tried.endswith(f"; failed trials: 1; calls refused: 3752; {page}")


def test_the_log_says_which_faults_are_injected(caplog: pytest.LogCaptureFixture) -> None:
    CircuitFactory(name="payments")
    announce(changed(Status(generation=1), opening(to_state=State.CLOSED, reason=Reason.INJECTION)))
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "Changed the injected faults (payments): injection")
    ]


def test_a_change_in_memory_is_logged_and_not_signalled(
    told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    CircuitFactory(name="payments")
    done = replace(changed(Status(generation=1), opening()), transition=None)
    caplog.clear()
    announce(done)
    assert told == []
    assert caplog.messages == ["Changed state from closed to open (payments): failures"]


# In doubt


@contextmanager
def commits_that_raise(cause: Exception | None) -> Iterator[None]:
    """Let every commit to the circuits' database fail, with an error of the driver as its cause."""

    def fail_to_commit() -> None:
        raise OperationalError("the connection is lost") from cause

    connection = connections["circuits"]
    kept = connection._commit  # type: ignore[attr-defined]
    connection._commit = fail_to_commit  # type: ignore[attr-defined]
    try:
        yield
    finally:
        connection._commit = kept  # type: ignore[attr-defined]


def change(row: Snapshot) -> Step:
    return Step(replace(row.status, failure_count=row.status.failure_count + 1))


def test_a_commit_that_gets_no_answer_may_have_been_done() -> None:
    CircuitFactory(name="payments")
    with commits_that_raise(None), pytest.raises(InDoubtError, match="the connection is lost"):
        DatabaseStore().change("payments", change)


def test_a_commit_that_the_database_refuses_has_not_been_done() -> None:
    CircuitFactory(name="payments")
    refused = sqlite3.OperationalError()
    refused.sqlite_errorcode = 10  # SQLITE_IOERR
    with commits_that_raise(refused), pytest.raises(OperationalError) as caught:
        DatabaseStore().change("payments", change)
    assert type(caught.value) is OperationalError


def test_what_fails_before_the_commit_has_not_been_done() -> None:
    CircuitFactory(name="payments")

    def fail_to_decide(row: Snapshot) -> Step:
        raise OperationalError("the connection is lost")

    with pytest.raises(OperationalError) as caught:
        DatabaseStore().change("payments", fail_to_decide)
    assert type(caught.value) is OperationalError


def test_what_found_no_row_has_not_been_done() -> None:
    with commits_that_raise(None), pytest.raises(OperationalError) as caught:
        DatabaseStore().steer("payments", change, NO_NOTE)
    assert type(caught.value) is OperationalError


# What is written along with a change


def changed(status: Status, change: Change | None = None, **note: Any) -> Changed[Step]:
    return DatabaseStore().change("payments", lambda row: Step(status, change), Note(**note))


def test_a_note_is_written_with_the_change() -> None:
    CircuitFactory(name="payments")
    changed(Status(failure_count=1), error="it\nis down")
    after = row()
    assert (after.last_error, after.total_failures) == ("it is down", 1)
    assert after.last_failure_at == after.last_attempt_at
    assert after.last_success_at is None
    changed(Status(failure_count=2), success=True)
    assert row().last_success_at == row().last_attempt_at > after.last_failure_at
    assert (row().last_error, row().total_failures) == ("it is down", 1)
    assert row().last_failure_at == after.last_failure_at
    kept = row().last_attempt_at
    changed(Status(failure_count=3), reason="somebody's", actor="ann")
    assert row().last_attempt_at == kept


def opening(**values: Any) -> Change:
    given: dict[str, Any] = {
        "from_state": State.CLOSED,
        "to_state": State.OPEN,
        "from_mode": Mode.AUTOMATIC,
        "to_mode": Mode.AUTOMATIC,
        "generation": 1,
        "reason": Reason.FAILURES,
        "at": 1_790_000_000.0,
    }
    return Change(**given | values)


@pytest.mark.parametrize(
    ("evidence", "note", "detail"),
    [
        ("", {}, ""),
        ("5 of 9 failed", {}, "5 of 9 failed"),
        ("5 of 9 failed", {"error": "it is down"}, "5 of 9 failed; last: it is down"),
        ("", {"error": "it is\ndown"}, "it is down"),
        ("", {"error": "it is down", "reason": "maintenance"}, "maintenance"),
    ],
)
def test_the_history_has_the_evidence_and_the_last_error(
    evidence: str, note: dict[str, str], detail: str
) -> None:
    CircuitFactory(name="payments")
    done = changed(Status(generation=1), opening(evidence=evidence), actor="a" * 200, **note)
    written = Transition.objects.get()
    assert done.transition == written
    assert done.error == note.get("error", "")
    assert (written.detail, written.circuit_id) == (detail, row().pk)
    assert written.actor.startswith("aaa")
    assert len(written.actor) <= ACTOR_LENGTH
    assert (to_seconds(written.at), written.until) == (1_790_000_000, None)


@pytest.mark.parametrize(
    ("before", "after", "is_news"),
    [
        (State.CLOSED, State.OPEN, True),
        (State.OPEN, State.HALF_OPEN, False),
        (State.HALF_OPEN, State.OPEN, False),
        (State.HALF_OPEN, State.CLOSED, True),
        (State.OPEN, State.CLOSED, True),
        (State.CLOSED, State.CLOSED, False),
        (State.CLOSED, State.HALF_OPEN, False),
    ],
)
def test_an_opening_and_the_closing_after_it_are_news(
    settings: Settings, before: State, after: State, is_news: bool
) -> None:
    CircuitFactory(name="payments")
    for generation, notify in enumerate(({"EMAILS": ["ann@example.com"]}, {})):
        set_circuits(settings, NOTIFY=notify)
        change = opening(from_state=before, to_state=after, generation=generation)
        changed(Status(), change)
        assert Transition.objects.latest("pk").pending is (is_news and bool(notify))


def test_the_refusals_of_an_incident_are_counted_from_its_opening() -> None:
    CircuitFactory(name="payments", total_refusals=7)
    down = Status(down_since=1_790_000_000.0)
    assert changed(down).after.refused == 0
    Circuit.objects.update(total_refusals=10)
    assert changed(replace(down, failure_count=1)).after.refused == 3
    assert changed(Status()).before.refused == 3


def test_a_change_is_known_from_when_it_was_committed(clock: Clock) -> None:
    CircuitFactory(name="payments")

    def decide(row: Snapshot) -> Step:
        clock.pass_by(5)
        return change(row)

    began = clock.now
    done = DatabaseStore().change("payments", decide)
    assert (done.before.known_at, done.before.read_at) == (began, began)
    assert done.committed_at == done.after.known_at == began + 5


# Read


def test_a_snapshot_has_what_its_row_has(clock: Clock) -> None:
    until = timezone.now()
    CircuitFactory(
        name="payments",
        timeout=2.5,
        failure_statuses="429",
        total_refusals=9,
        refusals_before=4,
        last_error="it is down",
        recorded_until=until,
        threshold=3,
    )
    found = DatabaseStore().find("payments")
    assert found is not None
    assert (found.name, found.key) == ("payments", row().pk)
    assert (found.timeout, found.failure_statuses) == (2.5, frozenset({429}))
    assert (found.refused, found.last_error) == (5, "it is down")
    assert found.recorded_until == until.timestamp()
    assert found.read_at == found.known_at == clock.now
    assert (found.policy.threshold, found.status) == (3, Status())
    assert abs(found.now - DatabaseStore().now()) < 1
    Circuit.objects.update(total_refusals=1, recorded_until=None, failure_statuses="")
    (again,) = DatabaseStore().read_all(["payments", "nowhere"]).values()
    assert (again.refused, again.recorded_until, again.failure_statuses) == (0, None, None)
    assert again.known_at == clock.now


def test_a_row_that_makes_no_sense_is_left_out_of_many(caplog: pytest.LogCaptureFixture) -> None:
    once_a_minute.forget()
    CircuitFactory(name="senseless")
    Circuit.objects.update(window={"buckets": "none"})
    CircuitFactory(name="payments")
    for _ in range(2):
        assert set(DatabaseStore().read_all(["senseless", "payments"])) == {"payments"}
    (record,) = caplog.records
    assert record.getMessage() == (
        "The row of the circuit senseless cannot be understood; it stays."
    )
    assert record.exc_info


def test_a_snapshot_is_kept_while_it_is_true(clock: Clock) -> None:
    store = DatabaseStore()
    known = store.read("payments")
    assert store.read("payments", known) is known
    clock.pass_by(0.9)
    assert store.read("payments", known) is known
    clock.pass_by(0.1)
    again = store.read("payments", known)
    assert again is not known, "its policy may have changed"
    Circuit.objects.update(failure_count=1)
    assert store.read("payments", again).status.failure_count == 1


def test_a_half_open_circuit_is_read_each_time(clock: Clock) -> None:
    CircuitFactory(name="payments", expired=True, state="half_open")
    store = DatabaseStore()
    known = store.read("payments")
    assert store.read("payments", known) is not known


# Refusals that are over


def test_a_circuit_is_steady_again_an_hour_after_its_last_refusal() -> None:
    hour = timedelta(hours=1)
    CircuitFactory(name="payments", refused_at=timezone.now() - hour - timedelta(seconds=1))
    CircuitFactory(name="mail", refused_at=timezone.now() - hour + timedelta(minutes=1))
    CircuitFactory(name="down", opened=True, refused_at=timezone.now() - 2 * hour)
    assert DatabaseStore().forget_refusals() == 1
    assert DatabaseStore().forget_refusals() == 0
    refused = Circuit.objects.filter(refused_at=None)
    assert [each.name for each in refused] == ["payments"]


# Heartbeats


def test_a_beat_is_kept_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    store = DatabaseStore()
    with database_clock(monkeypatch) as database:
        assert store.last_beat("half_open_expired") is None
        store.beat("half_open_expired")
        store.beat("prune")
        database.jump(60)
        store.beat("prune")
        ago = store.last_beat("half_open_expired")
        assert ago is not None
        assert 60 <= ago < 65
        database.jump(-90)
        assert store.last_beat("half_open_expired") == 0, "it was not in the future"
        assert store.last_beat("prune") == 0
    assert Heartbeat.objects.count() == 2


# Tallies


def tally(name: str = "payments", **values: Any) -> Tally:
    given: dict[str, Any] = {
        "at": None,
        "successes": 0,
        "failures": 0,
        "refused": {},
        "last_success_at": None,
    }
    return Tally(name=name, **given | values)


def flush(*tallies: Tally) -> Sequence[Changed[Step] | None]:
    return DatabaseStore().flush(tallies)


def test_a_tally_is_added_to_the_row_and_its_minute() -> None:
    CircuitFactory(name="payments", total_successes=1, total_refusals=1)
    CircuitFactory(name="mail")
    now = 1_790_000_000.0
    durations = latency.histogram([0.3, 8.0])
    given: dict[str, Any] = {"at": now, "successes": 5, "failures": 2, "refused": {0: 3, 4: 1}}
    for _ in range(2):
        assert flush(tally(**given, last_success_at=now - 1, durations=durations)) == [None]
    after = row()
    assert (after.total_successes, after.total_failures, after.total_refusals) == (11, 0, 9)
    assert to_seconds(after.last_success_at) == to_seconds(after.last_attempt_at) == now - 1
    assert to_seconds(after.refused_at) == now
    minute = Minute.objects.get()
    assert (minute.circuit_id, minute.minute) == (after.pk, now // 60)
    assert (minute.successes, minute.failures, minute.refusals) == (10, 4, 8)
    counted = [getattr(minute, bucket) for bucket in BUCKETS]
    assert counted == [2 * number for number in durations]


def test_the_latest_success_counts_whichever_tally_comes_last() -> None:
    CircuitFactory(name="payments")
    now = 1_790_000_000.0
    for at, process in ((now, "one"), (now - 5, "two"), (now + 5, "three"), (now + 4, "one")):
        flush(tally(successes=1, at=now, last_success_at=at, process=process))
    after = row()
    assert to_seconds(after.last_success_at) == to_seconds(after.last_attempt_at) == now + 5
    assert after.succeeded_by == "three"
    assert to_seconds(after.other_succeeded_at) == now + 4


def test_a_tally_without_a_time_is_of_now() -> None:
    CircuitFactory(name="payments")
    flush(tally(successes=1, refused={1: 1}, process="one"))
    now = DatabaseStore().now()
    for moment in (row().last_success_at, row().refused_at):
        assert now - 5 < to_seconds(moment) <= now + 0.001
    assert Minute.objects.get().minute == to_seconds(row().refused_at) // 60
    assert row().succeeded_by == "one"


def test_a_tally_of_refusals_says_nothing_of_successes() -> None:
    CircuitFactory(name="payments")
    flush(tally(refused={1: 2}))
    assert (row().total_refusals, row().total_successes) == (2, 0)
    assert row().last_success_at is None
    assert row().last_attempt_at is None


def test_a_success_that_was_counted_as_a_failure_is_dated_all_the_same() -> None:
    CircuitFactory(name="payments")
    flush(tally(failures=1, last_success_at=1_790_000_000.0))
    assert to_seconds(row().last_success_at) == 1_790_000_000


def test_an_earlier_refusal_is_forgotten_after_an_hour() -> None:
    for since, is_kept in ((3599, True), (3601, False)):
        at = to_datetime(1_790_000_000.0 - since)
        Circuit.objects.all().delete()
        CircuitFactory(name="payments", refused_at=at)
        flush(tally(successes=1, at=1_790_000_000.0))
        assert row().refused_at == (at if is_kept else None)


def test_refusals_are_counted_for_the_change_that_caused_them() -> None:
    circuit = CircuitFactory.create(name="payments")
    other = TransitionFactory.create(generation=2)
    for generation in (1, 2):
        TransitionFactory(circuit=circuit, generation=generation)
    flush(tally(refused={0: 9, 1: 3, 2: 4}))
    counted = Transition.objects.exclude(pk=other.pk).values_list("generation", "refusals")
    assert dict(counted) == {1: 3, 2: 4}
    other.refresh_from_db()
    assert other.refusals == 0


def test_an_empty_tally_writes_nothing(settings: Settings) -> None:
    CircuitFactory(name="payments")
    with CaptureQueriesContext(connections["circuits"]) as queries:
        assert flush(tally(refused={1: 0})) == [None]
    assert not [each for each in queries if each["sql"].startswith(("UPDATE", "INSERT"))]
    set_circuits(settings, STATISTICS_DAYS=0)
    flush(tally(successes=1))
    assert not Minute.objects.exists()


def test_retries_are_added_to_those_of_the_fleet(clock: Clock) -> None:
    CircuitFactory(name="payments")
    for _ in range(2):
        (done,) = flush(tally(spending=Spending(calls=10, retries=3)))
    assert done is not None
    assert not done.happened
    (bucket,) = done.after.retry_window.buckets
    assert bucket[1:3] == (20, 6)
    assert done.committed_at == clock.now
    assert DatabaseStore().read("payments").retry_window == done.after.retry_window
    assert flush(tally("nowhere", spending=Spending(1, 1))) == [None]


def test_a_batch_is_merged_and_its_result_returned() -> None:
    CircuitFactory(name="payments", strategy="rate", minimum_calls=4, failure_rate=0.5)
    batch = Batch(generation=0, counts=Counts(4, 4, 0), recent="ffff", own_run=4)
    first, second, third = flush(
        tally("nowhere", batch=batch), tally(batch=batch, failures=4), tally(successes=1)
    )
    assert (first, third) == (None, None)
    assert second is not None
    assert second.after.status.state is State.OPEN
    assert second.transition == Transition.objects.get()
    assert (row().state, row().total_successes) == ("open", 1)


def test_the_tally_of_a_deleted_circuit_goes_with_it() -> None:
    assert flush(tally(successes=1, spending=Spending(1, 0))) == [None]
    assert not Circuit.objects.exists()
    assert not Minute.objects.exists()
