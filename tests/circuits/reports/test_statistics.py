"""The counts of each minute: written by the flush, read for the charts, and deleted in time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from contextvars import Context
from time import sleep
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

import circuits
from circuits import conf
from circuits.core import latency
from circuits.core.latency import Histogram
from circuits.models import BUCKETS, Circuit, Minute, Transition
from circuits.process import entry, results, runtime
from circuits.process.tallies import MOST_GENERATIONS, Tallies
from circuits.reports import statistics
from circuits.reports.statistics import Calls, Slots, Timed
from circuits.storage.contract import Tally
from circuits.storage.database import DatabaseStore
from circuits.tasks import prune
from tests.calls import fail, refusal, succeed
from tests.clock import DatabaseClock, database_clock
from tests.concurrency import in_processes, in_threads
from tests.factories import CircuitFactory
from tests.outage import no_database

pytestmark = pytest.mark.usefixtures("committed")

#: A moment in the middle of a minute, in seconds since 1970.
NOON = 1_790_000_040.0 + 20
THEN = int(NOON // 60)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseClock]:
    with database_clock(monkeypatch) as clock:
        clock.set(NOON)
        yield clock


def minutes() -> dict[int, Calls]:
    """Return the counts of one circuit, by the minute."""
    rows = Minute.objects.values_list("minute", "successes", "failures", "refusals")
    return {minute: Calls(*calls) for minute, *calls in rows}


def minutes_in_all() -> Calls:
    """Return the sum of one circuit's counts over all minutes."""
    return Calls(*map(sum, zip(*minutes().values(), strict=True)))


def refused() -> list[tuple[str, int]]:
    """Return how many refused calls each transition has counted."""
    return list(Transition.objects.order_by("generation").values_list("to_state", "refusals"))


def let_snapshot_age() -> None:
    """Let the process read the database again, as it does after SNAPSHOT_SECONDS."""
    runtime.gate("payments").expire()


# Written -----------------------------------------------------------------------------------------


def test_a_flush_counts_what_calls_came_to_in_the_minute_it_is(database: DatabaseClock) -> None:
    succeed("payments", 3)
    fail("payments", 5)
    for _ in range(4):
        refusal("payments")
    assert minutes() == {}
    circuits.flush()
    assert minutes() == {THEN: Calls(3, 5, 4)}


def timed() -> Histogram:
    """Return how long the counted calls of the only circuit took."""
    return latency.added(*Minute.objects.values_list(*BUCKETS))


def test_a_call_that_has_a_ticket_of_its_own_is_timed() -> None:
    for _ in range(3):
        results.succeed(entry.begin_own("payments"))
    circuits.flush()
    assert sum(timed()) == 3
    assert timed()[0] == 3, "they took no time"


async def _arun(times: int) -> None:
    for _ in range(times):
        async with circuits.guard("payments"):
            pass


def test_async_calls_are_timed() -> None:
    asyncio.run(_arun(3))
    circuits.flush()
    assert sum(timed()) == 3


def test_of_plain_calls_one_is_timed_for_each_renewal(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 60}
    for _ in range(2):
        let_snapshot_age()
        Context().run(succeed, "payments", 50)
    circuits.flush()
    assert minutes_in_all() == Calls(100, 0, 0)
    assert sum(timed()) == 2


def test_a_failure_and_a_refusal_tell_nothing_of_how_long_answers_take() -> None:
    fail("payments", 5)
    refusal("payments")
    circuits.flush()
    assert timed() == latency.EMPTY


def test_a_slow_answer_is_timed_though_it_counts_as_a_failure() -> None:
    CircuitFactory.create(name="payments", slow_call_seconds=0.001)
    with circuits.guard("payments"):
        sleep(0.03)
    circuits.flush()
    assert sum(timed()) == 1
    assert timed()[0] == 0


def test_the_durations_that_each_process_saw_add_up(database: DatabaseClock) -> None:
    store = DatabaseStore()
    store.read("payments")
    for durations in ([0.3, 0.4], [0.3, 8.0]):
        tally = Tally(
            name="payments",
            at=NOON,
            successes=2,
            failures=0,
            refused={},
            last_success_at=NOON,
            durations=latency.histogram(durations),
        )
        store.flush([tally])
    assert timed() == latency.histogram([0.3, 0.4, 0.3, 8.0])
    slots = Slots.until(NOON, number=2, width=1)
    key = Circuit.objects.get().pk
    assert statistics.read_timed(key, slots) == [Timed(), Timed(Calls(4), timed())]
    assert statistics.read_timed(key + 1, slots) == [Timed(), Timed()]


def test_the_calls_of_a_minute_add_up_and_the_next_has_its_own(database: DatabaseClock) -> None:
    for seconds in (0, 30, 30):
        database.jump(seconds)
        let_snapshot_age()
        succeed("payments", 2)
        circuits.flush()
    assert minutes() == {THEN: Calls(4), THEN + 1: Calls(2)}


def test_each_circuit_has_its_own(database: DatabaseClock) -> None:
    succeed("payments", 2)
    succeed("mail")
    circuits.flush()
    counted = Minute.objects.values_list("circuit__name", "successes")
    assert dict(counted) == {"payments": 2, "mail": 1}


def test_nothing_is_written_for_a_call() -> None:
    succeed("payments")
    with CaptureQueriesContext(connections["circuits"]) as queries:
        succeed("payments", 10)
        fail("payments", 2)
    assert not [each for each in queries if Minute._meta.db_table in each["sql"]]


def test_what_a_call_ends_with_that_is_no_failure_is_not_counted(database: DatabaseClock) -> None:
    with suppress(KeyboardInterrupt), circuits.guard("payments"):
        raise KeyboardInterrupt
    succeed("payments")
    circuits.flush()
    assert minutes() == {THEN: Calls(1)}


def test_a_slow_call_is_counted_as_the_policy_takes_it(database: DatabaseClock) -> None:
    CircuitFactory(name="payments", slow_call_seconds=1e-9)
    with circuits.guard("payments"):
        pass
    circuits.flush()
    assert minutes() == {THEN: Calls(failures=1)}


def test_many_processes_at_once_lose_nothing() -> None:
    in_processes(4, "call_and_flush", name="payments", times=10)
    counted = sum(calls.successes for calls in minutes().values())
    assert counted == Circuit.objects.get().total_successes == 40
    assert len(minutes()) == Minute.objects.count()


def test_a_flush_that_fails_counts_nothing_twice_and_the_next_one_all(
    database: DatabaseClock,
) -> None:
    succeed("payments", 3)
    fail("payments", 5)
    refusal("payments")
    with no_database(), pytest.raises(OperationalError):
        circuits.flush()
    assert minutes() == {}
    circuits.flush()
    assert minutes() == {THEN: Calls(3, 5, 1)}
    assert refused() == [("open", 1)]


def test_what_is_gathered_of_a_deleted_circuit_goes_with_it() -> None:
    succeed("payments")
    Circuit.objects.all().delete()
    circuits.flush()
    assert (Circuit.objects.count(), Minute.objects.count()) == (0, 0)


def test_the_minutes_of_a_deleted_circuit_are_left_to_their_time() -> None:
    """A week of minutes would be ten thousand rows to list, and to delete at once."""
    circuit = CircuitFactory.create()
    now = int(DatabaseStore().now() // 60)
    count(circuit, now, 1, 1, 1)
    count(circuit, now - 8 * 24 * 60, 1, 1, 1)
    circuit.delete()
    assert len(minutes()) == 2
    assert prune() == 1
    assert statistics.last_hour([CircuitFactory.create().pk], now * 60) == {}


def test_a_site_may_count_none(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "STATISTICS_DAYS": 0}
    succeed("payments", 2)
    circuits.flush()
    assert Circuit.objects.get().total_successes == 2
    assert minutes() == {}


# Refusals, by the change that refused -------------------------------------------------------------


def test_refusals_belong_to_the_change_that_refused_them() -> None:
    fail("payments", 5)
    for _ in range(3):
        refusal("payments")
    circuits.get("payments").force_open()
    refusal("payments")
    circuits.flush()
    assert refused() == [("open", 3), ("open", 1)]
    circuits.get("payments").reset()
    circuits.get("payments").force_closed()
    succeed("payments")
    circuits.get("payments").force_open()
    refusal("payments")
    circuits.flush()
    assert refused() == [("open", 3), ("open", 1), ("closed", 0), ("open", 1)]
    assert Circuit.objects.get().total_refusals == 5


def test_what_no_change_refused_is_counted_all_the_same() -> None:
    CircuitFactory(name="payments", max_concurrent=1)
    with circuits.guard("payments"):
        in_threads(1, lambda _: refusal("payments"))  # a call inside a call is none of its own
    circuits.flush()
    assert Circuit.objects.get().total_refusals == 1
    assert [calls.refusals for calls in minutes().values()] == [1]


@given(st.lists(st.one_of(st.none(), st.integers(0, 5), st.just("take")), max_size=40))
def test_no_refusal_is_lost_or_counted_for_another(events: list[Any]) -> None:
    """None is a refusal, a number the generation that begins; some batches are returned."""
    tallies, expected, taken, generation = Tallies(), Counter[int](), Counter[int](), 0
    for number, event in enumerate(events):
        if event is None:
            next(tallies.refusals)
            expected[generation] += 1
        elif event == "take":
            some = tallies.take()
            if some and number % 2:
                tallies.give_back(some)
            elif some:
                taken.update(some.refused)
        else:
            generation = event
            tallies.refuse_by(generation)
    last = tallies.take()
    taken.update(last.refused if last else {})
    assert taken == expected


def test_the_refusals_of_the_oldest_generations_are_kept_together() -> None:
    tallies = Tallies()
    for generation in range(3, 2 * MOST_GENERATIONS):
        tallies.refuse_by(generation)
        next(tallies.refusals)
        taken = tallies.take() if generation % 100 == 0 else None
        if taken is not None:
            tallies.give_back(taken)
    last = tallies.take()
    assert last is not None
    kept = last.refused
    assert len(kept) == MOST_GENERATIONS
    assert sum(kept.values()) == 2 * MOST_GENERATIONS - 3
    newest = sorted(kept)[1:]
    assert newest == list(range(newest[0], 2 * MOST_GENERATIONS))
    assert {kept[generation] for generation in newest} == {1}


# Read --------------------------------------------------------------------------------------------


def count(circuit: Circuit, minute: int, *calls: int) -> None:
    successes, failures, refusals = calls
    Minute.objects.create(
        circuit=circuit, minute=minute, successes=successes, failures=failures, refusals=refusals
    )


def test_the_last_hour_is_thirty_slots_up_to_now() -> None:
    payments, mail, idle = CircuitFactory.create_batch(3)
    last = THEN - THEN % 2
    count(payments, last, 1, 2, 3)
    count(payments, last + 1, 10, 20, 30)
    count(payments, last - 58, 7, 0, 0)
    count(payments, last - 59, 100, 100, 100)  # of the slot before
    count(payments, last + 2, 100, 100, 100)  # of a clock set back
    count(mail, last - 2, 0, 0, 5)
    found = statistics.last_hour([payments.pk, mail.pk, idle.pk], NOON)
    nothing = [Calls()] * 28
    assert found == {
        payments.pk: [Calls(7), *nothing, Calls(11, 22, 33)],
        mail.pk: [*nothing, Calls(refusals=5), Calls()],
    }


def test_many_circuits_are_read_in_one_query() -> None:
    made = CircuitFactory.create_batch(5)
    for circuit in made:
        count(circuit, THEN, 1, 1, 1)
    with CaptureQueriesContext(connections["circuits"]) as queries:
        assert len(statistics.last_hour([each.pk for each in made], NOON)) == 5
    assert len(queries) == 1


@given(st.floats(0, 4e9), st.integers(1, 200), st.integers(1, 60))
def test_slots_end_with_the_moment_and_begin_where_others_do(
    now: float, number: int, width: int
) -> None:
    slots = Slots.until(now, number, width)
    assert slots.first % width == 0
    end = slots.start + slots.number * slots.seconds
    assert end - slots.seconds <= now < end


# Let go ------------------------------------------------------------------------------------------


def test_minutes_are_kept_for_so_many_days(settings: Settings) -> None:
    circuit = CircuitFactory.create()
    now = int(DatabaseStore().now() // 60)
    days = 24 * 60
    for minute in (now, now - 7 * days + 1, now - 7 * days - 2, now - 30 * days):
        count(circuit, minute, 1, 1, 1)
    assert prune() == 2
    assert set(minutes()) == {now, now - 7 * days + 1}
    settings.CIRCUITS = {**settings.CIRCUITS, "STATISTICS_DAYS": 1}
    assert prune() == 1
    assert conf.get().statistics_days == 1
