"""How many circuits a process keeps in memory, and what becomes of those it lets go."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import Error
from pytest_django import Settings

import circuits
from circuits import breaker
from circuits.models import Circuit
from tests.calls import succeed
from tests.clock import Clock
from tests.concurrency import in_threads
from tests.factories import CircuitFactory
from tests.outage import no_database

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture(autouse=True)
def _room_for_ten(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "MAX_SNAPSHOTS": 10}


def use(clock: Clock, *names: str) -> None:
    """Call through each circuit, one after the other."""
    for name in names:
        clock.pass_by(1)
        succeed(name)


def names(count: int) -> list[str]:
    return [f"circuit {number}" for number in range(count)]


def successes() -> dict[str, int]:
    return dict(Circuit.objects.values_list("name", "total_successes"))


def test_no_more_are_kept_than_there_is_room_for(clock: Clock) -> None:
    for name in names(50):
        use(clock, name)
        assert len(breaker._gates) <= 10


def test_those_used_last_are_kept(clock: Clock) -> None:
    use(clock, *names(10))
    use(clock, "circuit 0")
    use(clock, "one more")
    # One had to go, and a tenth more for the next ones to come.
    assert set(breaker._gates) == {*names(10), "one more"} - {"circuit 1", "circuit 2"}


def test_one_let_go_is_read_again_at_its_next_call(clock: Clock) -> None:
    use(clock, *names(11))
    assert "circuit 0" not in breaker._gates
    circuits.get("circuit 0").force_open()
    with pytest.raises(circuits.CircuitOpenError):
        succeed("circuit 0")


def test_what_one_let_go_has_gathered_is_written(clock: Clock) -> None:
    use(clock, *names(30))
    circuits.flush()
    assert successes() == dict.fromkeys(names(30), 1)
    circuits.flush()
    assert successes() == dict.fromkeys(names(30), 1), "once"


def test_what_one_let_go_has_gathered_outlives_a_flush_that_fails(clock: Clock) -> None:
    use(clock, *names(30))
    with no_database(), pytest.raises(Error):
        circuits.flush()
    circuits.flush()
    assert successes() == dict.fromkeys(names(30), 1)


def test_a_call_under_way_reports_to_one_let_go(clock: Clock) -> None:
    CircuitFactory.create(name="slow", expired=True)
    trial = breaker.admit("slow")
    use(clock, *names(20))
    assert "slow" not in breaker._gates
    trial.succeed()
    assert Circuit.objects.get(name="slow").state == "closed"


def test_one_with_counted_places_taken_is_not_let_go(clock: Clock) -> None:
    CircuitFactory.create(name="narrow", max_concurrent=1)
    ticket = breaker.admit("narrow")
    use(clock, *names(20))
    with pytest.raises(circuits.CircuitBusyError):
        breaker.admit("narrow")
    ticket.succeed()
    breaker.admit("narrow").succeed()


def test_threads_that_bring_new_names_at_once_leave_no_more_than_there_is_room_for() -> None:
    def work(index: int) -> None:
        for number in range(10):
            succeed(f"circuit {index}-{number}")

    in_threads(8, work)
    assert len(breaker._gates) <= 10
    circuits.flush()
    assert set(successes().values()) == {1}
    assert len(successes()) == 80


def test_forgetting_forgets_those_let_go_too(clock: Clock) -> None:
    use(clock, *names(30))
    breaker.forget()
    circuits.flush()
    assert set(successes().values()) == {0}


def kept_bytes(count: int) -> int:
    """How much memory a process uses to keep so many circuits."""
    import tracemalloc

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for name in names(count):
        breaker.gate(name)._take(known(name))
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return used


def known(name: str) -> Any:
    return breaker.store.memory.read(name)


def test_the_memory_used_is_a_few_kilobytes_for_each_kept(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "MAX_SNAPSHOTS": 1_000}
    assert kept_bytes(1_000) < 1_000 * 6_000
