"""The way into a circuit: from memory, by asking the store, and in an event loop."""

from __future__ import annotations

import asyncio
from threading import Event
from time import monotonic
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from pytest_django import Settings

import circuits
from circuits.models import Circuit
from circuits.process import asking, entry, nesting, results, runtime
from circuits.process.gate import Gate
from circuits.process.nesting import MOST_ENDED
from circuits.process.threads import THREADS, in_thread
from circuits.storage import testruns
from circuits.storage.contract import Snapshot
from circuits.storage.database import DatabaseStore
from tests.calls import fail, succeed
from tests.circuits.process.elsewhere import fail_elsewhere, succeed_elsewhere
from tests.clock import Clock
from tests.concurrency import PATIENCE, wait_until
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")


class WatchedStore(DatabaseStore):
    """A store that counts what it is asked, and can delay its changes."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = self.changes = self.clearings = 0
        self.go = Event()
        self.go.set()

    def read(self, name: str, known: Snapshot | None = None) -> Snapshot:
        self.reads += 1
        return super().read(name, known)

    def change(self, *args: Any, **kwargs: Any) -> Any:
        self.changes += 1
        assert self.go.wait(PATIENCE / 4)
        return super().change(*args, **kwargs)

    def clear_failures(self, *args: Any, **kwargs: Any) -> bool:
        self.clearings += 1
        return super().clear_failures(*args, **kwargs)

    @property
    def asked(self) -> tuple[int, int, int]:
        return self.reads, self.changes, self.clearings


@pytest.fixture
def store() -> WatchedStore:
    """The store of this process's circuit ``payments``, which is not known yet."""
    store = WatchedStore()
    runtime.gates.add(Gate("payments", store, home=testruns.database("circuits")))
    return store


@pytest.fixture
def long_snapshots(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 60}


def strict(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 0}


def row() -> Any:
    return Circuit.objects.get(name="payments")


# Names


def test_a_name_that_no_circuit_can_have_takes_up_no_memory() -> None:
    with pytest.raises(circuits.InvalidInputError):
        entry.admit("no\nname")
    assert "no\nname" not in runtime.gates
    entry.admit("payments")
    assert "payments" in runtime.gates


# From memory


def test_an_answer_from_memory_ends_at_the_very_moment_at_which_it_has_aged(
    store: WatchedStore, clock: Clock
) -> None:
    for _ in range(2):
        results.succeed(entry.begin("payments", clock.now))
    assert store.reads == 1
    clock.pass_by(0.2)
    ticket = entry.begin("payments", clock.now)
    assert store.reads == 2
    results.succeed(ticket)


def test_a_refusal_from_memory_says_how_long_to_wait_until_it_has_aged(
    store: WatchedStore, clock: Clock
) -> None:
    CircuitFactory.create(name="payments", opened=True)
    waits = []
    for reads in (1, 1, 2):
        with pytest.raises(circuits.CircuitOpenError) as refused:
            entry.begin("payments", clock.now)
        assert type(refused.value) is circuits.CircuitOpenError
        assert not refused.value.is_alone
        waits.append(refused.value.retry_after)
        assert store.reads == reads
        clock.pass_by(0.1)
    assert all(50 < wait <= 60 for wait in waits)
    assert waits[1] == pytest.approx(waits[0] - 0.1)


def test_a_refusal_from_memory_says_whether_this_process_is_alone(clock: Clock) -> None:
    results.succeed(entry.begin("payments", clock.now))
    gate = runtime.gates["payments"]
    succeed_elsewhere("payments")
    for _ in range(5):
        results.fail(asking.admit(gate), "the remote is down")
    succeed_elsewhere("payments")
    gate.expire()
    for _ in range(2):  # the first asks the database
        with pytest.raises(circuits.CircuitOpenError) as refused:
            entry.begin("payments", clock.now)
        assert refused.value.is_alone


# A call that takes long


def test_a_long_call_has_a_ticket_of_its_own_also_where_plain_calls_share_one(
    store: WatchedStore,
) -> None:
    first = entry.begin("payments", monotonic())
    results.succeed(first)
    second = entry.begin("payments", monotonic())
    assert second.is_plain
    results.succeed(second)
    own = entry.begin_own("payments")
    assert not own.is_plain
    inner = entry.begin_own("payments")
    assert inner.holder is own, "a call inside it rides on it"
    for ticket in (inner, own):
        results.succeed(ticket)


def test_calls_of_other_circuits_keep_no_plain_call_from_sharing_its_ticket(
    long_snapshots: None,
) -> None:
    succeed("payments", 2)
    assert entry.begin("payments", monotonic()).is_plain
    fail("mail")  # kept in this thread for the calls around it
    assert entry.begin("payments", monotonic()).is_plain
    outer = entry.begin_own("mail")
    inner = entry.begin("payments", monotonic())
    assert inner.is_plain
    assert not results.succeed_in_memory(inner, monotonic())
    assert entry.begin_own("mail").holder is outer, "it is still the call around others"
    results.succeed(outer)
    circuits.flush()
    assert row().total_successes == 3


@pytest.mark.parametrize("between", ["failed", "under way"])
def test_calls_one_after_the_other_are_all_counted_whatever_is_held_of_another_circuit(
    long_snapshots: None, between: str
) -> None:
    succeed("payments")  # it is timed, and so held
    if between == "failed":
        fail("mail")
    else:
        entry.begin_own("mail")
    succeed("payments", 5)
    circuits.flush()
    assert row().total_successes == 6


def test_a_call_rides_on_the_one_around_it_however_many_others_have_failed_in_between() -> None:
    outer = entry.begin_own("payments")
    for number in range(MOST_ENDED + 5):
        fail(f"circuit {number}")
    assert len(nesting.held()) <= MOST_ENDED + 1
    inner = entry.begin_own("payments")
    assert inner.holder is outer
    for ticket in (inner, outer):
        results.succeed(ticket)


def test_a_call_inside_one_of_an_older_generation_has_a_permit_of_its_own() -> None:
    outer = entry.begin_own("payments")
    circuits.get("payments").observe()
    asking.current(outer.gate)
    inner = entry.begin_own("payments")
    assert inner.holder is inner, "the old permit lets no further call through"
    results.succeed(inner)
    results.fail(outer, "down")
    taken = outer.gate.tallies.take()
    assert taken is not None
    assert (taken.successes, taken.failures) == (1, 0), "the outer call counts as nothing"


# In an event loop


async def test_a_sync_call_says_what_to_use_where_it_would_have_to_ask() -> None:
    with pytest.raises(SynchronousOnlyOperation) as refused:
        entry.admit("payments")
    assert str(refused.value) == (
        "The circuit payments must ask its database, which a sync call may not do in an event "
        "loop; use `async with circuits.guard` or an async function."
    )
    assert refused.value.__suppress_context__
    assert "payments" not in runtime.gates
    ticket = entry.admit_anywhere("payments")
    assert ticket.gate is runtime.gates["payments"]
    assert entry.admit("payments").gate is ticket.gate, "by now, memory knows"


async def test_tasks_that_come_at_once_share_one_read(store: WatchedStore) -> None:
    tickets = await asyncio.gather(*(entry.aadmit("payments") for _ in range(20)))
    assert {ticket.gate for ticket in tickets} == {runtime.gates["payments"]}
    assert store.asked == (1, 0, 0)
    await entry.aadmit("payments")
    assert store.asked == (1, 0, 0), "memory answers"


async def test_memory_answers_also_while_all_threads_are_busy() -> None:
    await entry.asucceed(await entry.aadmit("payments"))
    go = Event()
    busy = [asyncio.create_task(in_thread(go.wait, PATIENCE)) for _ in range(THREADS)]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(PATIENCE / 4):
            await entry.asucceed(await entry.aadmit("payments"))
    finally:
        go.set()
        await asyncio.gather(*busy)


async def test_without_snapshots_each_task_reads(settings: Settings, store: WatchedStore) -> None:
    strict(settings)
    for number in range(1, 4):
        await entry.aadmit("payments")
        assert store.asked == (number, 0, 0)


async def test_a_task_that_is_cancelled_on_its_way_to_a_trial_gives_the_trial_back(
    store: WatchedStore,
) -> None:
    await in_thread(lambda: CircuitFactory.create(name="payments", expired=True))
    store.go.clear()
    task = asyncio.create_task(entry.aadmit("payments"))
    await in_thread(wait_until, lambda: store.changes == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    store.go.set()
    await in_thread(wait_until, lambda: store.changes == 2)
    await in_thread(wait_until, lambda: row().state == "half_open" and row().leases == [])
    trial = await entry.aadmit("payments")
    await entry.asucceed(trial)
    assert await in_thread(lambda: row().state) == "closed"


async def test_a_call_inside_another_rides_on_its_permit_and_needs_no_place() -> None:
    await in_thread(lambda: CircuitFactory.create(name="payments", max_concurrent=1))
    outer = await entry.abegin("payments")
    inner = await entry.abegin("payments")
    assert inner.holder is outer
    await entry.asucceed(inner)
    await entry.asucceed(outer)
    assert runtime.gates["payments"].places.taken == 0


async def test_a_call_begins_in_memory_only_if_memory_can_tell() -> None:
    assert entry.begin_in_memory("payments") is None
    await in_thread(
        lambda: CircuitFactory.create(name="payments", max_concurrent=1, max_wait_seconds=60)
    )
    first = await entry.aadmit("payments")
    assert entry.begin_in_memory("payments") is None, "it would have to wait"
    await entry.asucceed(first)
    ticket = entry.begin_in_memory("payments")
    assert ticket is not None
    assert not ticket.is_plain
    inner = entry.begin_in_memory("payments")
    assert inner is not None
    assert inner.holder is ticket


async def test_a_success_that_took_longer_than_what_is_known_looks_once(
    store: WatchedStore, clock: Clock
) -> None:
    tickets = [await entry.aadmit("payments") for _ in range(20)]
    clock.pass_by(0.4)
    before = store.reads
    await asyncio.gather(*(entry.asucceed(ticket) for ticket in tickets))
    assert store.asked == (before + 1, 0, 0)
    await in_thread(circuits.flush)
    assert await in_thread(lambda: row().total_successes) == 20


async def test_a_success_that_finds_a_run_at_its_look_ends_it(
    store: WatchedStore, clock: Clock
) -> None:
    ticket = await entry.aadmit("payments")
    await in_thread(fail_elsewhere, "payments", 3)
    clock.pass_by(0.4)
    await entry.asucceed(ticket)
    assert await in_thread(lambda: row().failure_count) == 0
    assert store.clearings == 1


async def test_without_snapshots_a_success_looks_and_ends_a_run_in_one_step(
    settings: Settings, store: WatchedStore, clock: Clock
) -> None:
    strict(settings)
    ticket = await entry.aadmit("payments")
    await in_thread(fail_elsewhere, "payments", 3)
    clock.pass_by(0.4)
    await entry.asucceed(ticket)
    assert await in_thread(lambda: row().failure_count) == 0
    assert store.asked == (2, 0, 1)
