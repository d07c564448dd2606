"""What the background does for a circuit when it renews the process's view of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connections
from django.db.models import F
from django.test.utils import CaptureQueriesContext

import circuits
from circuits.models import Circuit
from circuits.process import asking, renewal, results
from circuits.process.gate import KEEP_SECONDS, Gate
from circuits.storage.database import DatabaseStore
from circuits.storage.failsafe import FailSafeStore
from circuits.storage.memory import MemoryStore
from tests.circuits.process.elsewhere import fail_elsewhere, succeed_elsewhere
from tests.clock import Clock
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")


class Background:
    """A background thread whose work the test does, and the looks that it is asked for."""

    def __init__(self) -> None:
        self.looks: list[float] = []
        self.is_awake = True

    def is_renewing(self) -> bool:
        return self.is_awake

    def keep_up(self) -> None:
        self.is_awake = True

    def look_soon(self, seconds: float = 0.0) -> None:
        self.looks.append(seconds)


class Process:
    """A process whose views a background renews."""

    def __init__(self, clock: Clock) -> None:
        self.background = Background()
        self.store = FailSafeStore(DatabaseStore(), MemoryStore(clock=clock), clock=clock)
        self.gate = Gate("payments", self.store, renewer=self.background)

    def renew(self) -> bool:
        return renewal.renew({"payments": self.gate}, self.store)


@pytest.fixture
def one(clock: Clock) -> Process:
    return Process(clock)


def row() -> Circuit:
    return Circuit.objects.get(name="payments")


def test_a_success_leaves_a_run_that_began_meanwhile_to_the_background(
    one: Process, clock: Clock
) -> None:
    ticket = asking.admit(one.gate)
    fail_elsewhere("payments", 3)
    clock.pass_by(0.4)
    with CaptureQueriesContext(connections["circuits"]) as asked:
        results.succeed(ticket)
    assert (len(asked), one.background.looks) == (0, [0.0])
    assert row().failure_count == 3
    assert one.renew()
    assert row().failure_count == 0
    fail_elsewhere("payments", 2)
    assert one.renew()
    assert row().failure_count == 2, "it ends one run, once"


def test_where_the_background_rests_a_success_ends_the_run_itself(
    one: Process, clock: Clock
) -> None:
    ticket = asking.admit(one.gate)
    fail_elsewhere("payments", 3)
    one.background.is_awake = False
    clock.pass_by(0.4)
    results.succeed(ticket)
    assert (row().failure_count, one.background.looks) == (0, [])


def test_an_accusation_that_nobody_refutes_is_decided_by_the_background(one: Process) -> None:
    succeed_elsewhere("payments")
    for _ in range(5):
        results.fail(asking.admit(one.gate), "the remote is down")
    assert (row().state, row().accuser) == ("closed", one.gate.process)
    [soon] = one.background.looks
    assert 0 < soon <= 0.2, "it looks as soon as the others have had their time"
    assert one.renew()
    assert row().state == "closed", "their time is not over"
    Circuit.objects.update(run_started_at=F("run_started_at") - timedelta(seconds=61))
    assert one.renew()
    assert row().state == "open"
    with pytest.raises(circuits.CircuitOpenError):
        asking.admit(one.gate)


def test_where_there_is_nothing_to_decide_the_background_only_reads(one: Process) -> None:
    asking.admit(one.gate)
    with CaptureQueriesContext(connections["circuits"]) as asked:
        assert one.renew()
    [query] = asked.captured_queries
    assert query["sql"].startswith("SELECT")


def test_what_nobody_has_called_for_a_while_is_not_renewed(one: Process, clock: Clock) -> None:
    results.succeed(asking.admit(one.gate))
    clock.pass_by(4)
    assert one.renew(), "calls came a moment ago"
    clock.pass_by(4)
    assert one.renew(), "a call had ended since the renewal before"
    clock.pass_by(KEEP_SECONDS)
    with CaptureQueriesContext(connections["circuits"]) as asked:
        assert not one.renew()
    assert not asked.captured_queries


def test_what_a_call_under_way_holds_a_place_of_is_renewed(one: Process, clock: Clock) -> None:
    CircuitFactory.create(name="payments", max_concurrent=2)
    ticket = asking.admit(one.gate)
    for _ in range(5):
        clock.pass_by(4)
        assert one.renew()
    results.succeed(ticket)
    for seconds, is_renewed in ((4, True), (4, True), (KEEP_SECONDS, False)):
        clock.pass_by(seconds)
        assert one.renew() is is_renewed
