"""When failures open a circuit, if each process sees only some of them.

Two gates on one row act as two processes, each with a snapshot and a run of its own.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

from circuits.core.status import Mode
from circuits.exceptions import CircuitOpenError
from circuits.models import Circuit
from circuits.process import asking, flushing, results
from circuits.process.gate import Gate
from circuits.process.results import BRIEF_SECONDS
from circuits.storage.database import DatabaseStore
from tests.clock import Clock
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")

#: The threshold of the circuit in these tests is the default.
THRESHOLD = 5


@pytest.fixture(autouse=True)
def _slow_snapshots(settings: Settings) -> None:
    """Keep snapshots fresh and runs young while a test runs."""
    _set_snapshot_seconds(settings, 60)


def _set_snapshot_seconds(settings: Settings, seconds: float) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": seconds}


def process() -> Gate:
    """Return the gate of a new process."""
    return Gate("payments", DatabaseStore())


def fail(gate: Gate, times: int = 1) -> None:
    for _ in range(times):
        results.fail(asking.admit(gate), "the remote is down")


def succeed(gate: Gate) -> None:
    results.succeed(asking.admit(gate))


def let_run_grow_old() -> None:
    Circuit.objects.update(run_started_at=F("run_started_at") - timedelta(seconds=61))


def row() -> Any:
    return Circuit.objects.get(name="payments")


def test_a_process_that_sees_threshold_failures_in_a_row_opens_at_once() -> None:
    one = process()
    fail(one, THRESHOLD - 1)
    assert row().state == "closed"
    fail(one)
    assert (row().state, row().failure_count) == ("open", THRESHOLD)


def test_a_success_begins_the_run_of_its_process_anew() -> None:
    one = process()
    fail(one, THRESHOLD - 1)
    succeed(one)
    fail(one, THRESHOLD - 1)
    assert (row().state, row().failure_count) == ("closed", THRESHOLD - 1)
    fail(one)
    assert row().state == "open"


def test_a_process_whose_run_a_success_elsewhere_has_cleared_is_alone_with_it(
    clock: Clock, settings: Settings
) -> None:
    _set_snapshot_seconds(settings, 0.2)
    one, other = process(), process()
    fail(one, THRESHOLD - 1)
    succeed(other)
    clock.pass_by(0.2)
    fail(one)
    assert (row().state, row().failure_count) == ("closed", 0)
    with pytest.raises(CircuitOpenError, match="This process alone cannot reach payments") as no:
        asking.admit(one)
    assert no.value.is_alone
    succeed(other)


def others_succeed() -> None:
    """Let another process have a success, and flush it."""
    other = process()
    succeed(other)
    flushing.flush([other], other.store)


def test_where_others_succeed_a_process_only_accuses_the_remote_and_refuses_itself() -> None:
    others_succeed()
    one, other = process(), process()
    fail(one, THRESHOLD)
    assert (row().state, row().failure_count, row().accuser) == ("closed", THRESHOLD, one.process)
    with pytest.raises(CircuitOpenError) as no:
        asking.admit(one)
    assert not no.value.is_alone
    asking.admit(other)


def test_a_second_process_that_accuses_the_remote_opens_it() -> None:
    others_succeed()
    fail(process(), THRESHOLD)
    other = process()
    fail(other, THRESHOLD - 1)
    assert row().state == "closed"
    fail(other)
    assert row().state == "open"


def test_an_accusation_that_nobody_refutes_opens_at_the_accusers_next_call() -> None:
    others_succeed()
    one = process()
    fail(one, THRESHOLD)
    let_run_grow_old()
    one.expire()
    with pytest.raises(CircuitOpenError):
        asking.admit(one)
    assert row().state == "open"


def test_a_success_elsewhere_leaves_the_accuser_alone_until_its_own_trial_succeeds() -> None:
    others_succeed()
    one = process()
    fail(one, THRESHOLD)
    succeed(process())
    one.expire()
    with pytest.raises(CircuitOpenError, match="This process alone"):
        asking.admit(one)
    assert [each[0] for each in row().quarantines] == [one.process]
    let_quarantine_end()
    one.expire()
    trial = asking.admit(one)
    with pytest.raises(CircuitOpenError, match="This process alone"):
        asking.admit(one)
    results.fail(trial, "no route to host")
    assert (row().failure_count, row().quarantines[0][3]) == (0, 2)
    let_quarantine_end()
    one.expire()
    succeed(one)
    assert row().quarantines is None
    fail(one, THRESHOLD - 1)
    asking.admit(one)


def let_quarantine_end() -> None:
    circuit = row()
    process, since, until, tries, token = circuit.quarantines[0]
    circuit.quarantines = [[process, since - 3600, until - 3600, tries, token]]
    circuit.save()


def test_what_a_process_in_quarantine_reports_late_counts_for_nobody() -> None:
    others_succeed()
    one = process()
    late = asking.admit(one)
    fail(one, THRESHOLD)
    succeed(process())
    one.expire()
    with pytest.raises(CircuitOpenError):
        asking.admit(one)
    results.fail(late, "the remote is down")
    assert row().failure_count == 0


def test_what_one_process_opened_alone_is_closed_by_who_has_succeeded_since() -> None:
    other = process()
    call = asking.admit(other)
    fail(process(), THRESHOLD)
    assert row().state == "open"
    results.succeed(call)
    asking.testify(other)
    other.expire()
    asking.admit(other)
    assert row().state == "closed"
    assert row().transitions.latest("generation").reason == "refuted"


def test_an_old_shared_run_opens_though_no_process_saw_all_of_it() -> None:
    one, other = process(), process()
    fail(one, 3)
    fail(other)
    let_run_grow_old()
    fail(other)
    assert (row().state, row().failure_count) == ("open", THRESHOLD)


def test_a_young_shared_run_does_not_open_however_long_it_is() -> None:
    for _ in range(3):
        fail(process(), THRESHOLD - 1)
    assert (row().state, row().failure_count) == ("closed", 3 * (THRESHOLD - 1))


def test_a_shared_run_that_has_grown_old_opens_at_the_next_failure() -> None:
    for _ in range(3):
        fail(process(), THRESHOLD - 1)
    let_run_grow_old()
    fail(process())
    assert row().state == "open"


def test_an_old_shared_run_below_the_threshold_does_not_open() -> None:
    fail(process(), THRESHOLD - 2)
    let_run_grow_old()
    fail(process())
    assert (row().state, row().failure_count) == ("closed", THRESHOLD - 1)


def test_a_success_elsewhere_ends_the_shared_run() -> None:
    fail(process(), THRESHOLD - 1)
    let_run_grow_old()
    succeed(process())
    assert (row().failure_count, row().run_started_at) == (0, None)
    fail(process())
    assert (row().state, row().failure_count) == ("closed", 1)


def test_a_success_elsewhere_ends_the_run_as_soon_as_its_snapshot_has_aged(
    clock: Clock, settings: Settings
) -> None:
    _set_snapshot_seconds(settings, 0.2)
    other = process()
    succeed(other)
    fail(process(), THRESHOLD - 1)
    succeed(other)
    assert row().failure_count == THRESHOLD - 1, "its snapshot still says that all is well"
    clock.pass_by(0.2)
    succeed(other)
    assert row().failure_count == 0


def test_a_success_ends_a_run_that_began_while_its_call_was_under_way(
    clock: Clock, settings: Settings
) -> None:
    _set_snapshot_seconds(settings, 0.2)
    slow = asking.admit(process())
    fail(process(), THRESHOLD - 1)
    clock.pass_by(0.2)
    results.succeed(slow)
    assert (row().failure_count, row().run_started_at) == (0, None)


def test_a_success_whose_snapshot_has_not_aged_asks_nothing(
    clock: Clock, settings: Settings
) -> None:
    _set_snapshot_seconds(settings, 0.2)
    brief = asking.admit(process())
    fail(process(), THRESHOLD - 1)
    clock.pass_by(0.19)
    results.succeed(brief)
    assert row().failure_count == THRESHOLD - 1


def test_without_snapshots_a_success_ends_a_run_that_began_while_its_call_was_under_way(
    clock: Clock, settings: Settings
) -> None:
    _set_snapshot_seconds(settings, 0)
    slow, brief = asking.admit(process()), asking.admit(process())
    fail(process(), THRESHOLD - 1)
    results.succeed(brief)
    assert row().failure_count == THRESHOLD - 1, "a brief call asks once"
    clock.pass_by(BRIEF_SECONDS)
    results.succeed(slow)
    assert row().failure_count == 0


def test_without_snapshots_exactly_threshold_failures_open(settings: Settings) -> None:
    _set_snapshot_seconds(settings, 0)
    for _ in range(THRESHOLD - 1):
        fail(process())
    assert row().state == "closed"
    fail(process())
    assert (row().state, row().failure_count) == ("open", THRESHOLD)


def test_without_snapshots_a_success_anywhere_ends_the_run(settings: Settings) -> None:
    _set_snapshot_seconds(settings, 0)
    one, other = process(), process()
    succeed(other)
    fail(one, THRESHOLD - 1)
    succeed(other)
    fail(process(), THRESHOLD - 1)
    assert (row().state, row().failure_count) == ("closed", THRESHOLD - 1)


# The rate strategy


def rate_process() -> Gate:
    """Return the gate of a process, for a circuit that was closed again a second ago."""
    return Gate("searches", DatabaseStore())


@pytest.fixture
def _recovered(committed: None, settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "FLUSH_SECONDS": 60}
    CircuitFactory(
        name="searches",
        strategy="rate",
        minimum_calls=4,
        generation=2,
        state_changed_at=timezone.now() - timedelta(seconds=1),
    )


def rate_state() -> str:
    return Circuit.objects.get(name="searches").state


@pytest.mark.usefixtures("_recovered")
def test_the_bad_luck_of_one_process_does_not_open_before_the_others_had_time_to_merge() -> None:
    one = rate_process()
    for _ in range(3):
        succeed(one)
        fail(one)
    assert rate_state() == "closed"
    Circuit.objects.update(state_changed_at=timezone.now() - timedelta(seconds=61))
    fail(one)
    assert rate_state() == "open"


@pytest.mark.usefixtures("_recovered")
def test_a_process_that_sees_nothing_but_failures_opens_by_the_rate_at_once() -> None:
    one = rate_process()
    succeed(one)
    fail(one, 3)
    assert rate_state() == "closed"
    fail(one)
    assert rate_state() == "open"


def test_by_the_rate_too_a_success_elsewhere_refutes_an_accusation_once_it_is_flushed() -> None:
    CircuitFactory(name="payments", strategy="rate", minimum_calls=4, failure_rate=0.5)
    one, other = process(), process()
    succeed(other)
    flushing.flush([other], other.store)
    fail(one, 4)
    assert (row().state, row().accuser) == ("closed", one.process)
    succeed(other)
    flushing.flush([other], other.store)
    assert (row().state, row().accuser) == ("closed", "")
    assert [each[0] for each in row().quarantines] == [one.process]


def test_forced_closed_counts_every_failure_and_never_opens() -> None:
    CircuitFactory(name="payments", mode=Mode.FORCED_CLOSED)
    for _ in range(2):
        fail(process(), THRESHOLD + 1)
    let_run_grow_old()
    fail(process())
    assert (row().state, row().failure_count) == ("closed", 2 * THRESHOLD + 3)
