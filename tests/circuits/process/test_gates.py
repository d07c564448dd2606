"""How many circuits a process keeps in memory, and what happens to those that it lets go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from django.db import Error, OperationalError
from pytest_django import Settings

import circuits
from circuits.core.status import Step
from circuits.models import Circuit
from circuits.process import asking, entry, flushing, results, runtime
from circuits.process.gate import Gate
from circuits.process.gates import MOST_LEAVING, Gates
from circuits.storage.contract import Changed, Tally
from circuits.storage.database import DatabaseStore
from circuits.storage.failsafe import FailSafeStore
from circuits.storage.memory import MemoryStore
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
        assert len(runtime.gates) <= 10


def test_those_used_last_are_kept(clock: Clock) -> None:
    use(clock, *names(10))
    use(clock, "circuit 0")
    use(clock, "one more")
    # One had to go, and a tenth more to make room for later ones.
    assert set(runtime.gates) == {*names(10), "one more"} - {"circuit 1", "circuit 2"}


def test_one_let_go_is_read_again_at_its_next_call(clock: Clock) -> None:
    use(clock, *names(11))
    assert "circuit 0" not in runtime.gates
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


def test_those_let_go_during_a_flush_are_kept_beside_those_it_could_not_write() -> None:
    gates, store = Gates(), DatabaseStore()

    def add(name: str) -> None:
        gate = gates.add(Gate(name, store))
        next(gate.tallies.successes)

    for name in names(15):
        add(name)
    with gates.all_of_them() as before:
        assert {gate.name for gate in before} == set(names(15))
        for number in range(15):
            add(f"later {number}")
    with gates.all_of_them() as after:
        assert {gate.name for gate in before} <= {gate.name for gate in after}
        assert len({gate.name for gate in after}) == 30


def test_a_second_flush_that_fails_loses_nothing_of_the_first(clock: Clock) -> None:
    use(clock, *names(30))
    with no_database(), pytest.raises(Error):
        circuits.flush()
    later = [f"later {number}" for number in range(30)]
    use(clock, *later)
    with no_database(), pytest.raises(Error):
        circuits.flush()
    circuits.flush()
    assert successes() == dict.fromkeys([*names(30), *later], 1)


def test_a_call_under_way_reports_to_one_let_go(clock: Clock) -> None:
    CircuitFactory.create(name="slow", expired=True)
    trial = entry.admit("slow")
    use(clock, *names(20))
    assert "slow" not in runtime.gates
    results.succeed(trial)
    assert Circuit.objects.get(name="slow").state == "closed"


def test_one_with_counted_places_taken_is_not_let_go(clock: Clock) -> None:
    CircuitFactory.create(name="narrow", max_concurrent=1)
    ticket = entry.admit("narrow")
    use(clock, *names(20))
    with pytest.raises(circuits.CircuitBusyError):
        entry.admit("narrow")
    results.succeed(ticket)
    results.succeed(entry.admit("narrow"))


def test_threads_that_bring_new_names_at_once_leave_no_more_than_there_is_room_for() -> None:
    def work(index: int) -> None:
        for number in range(10):
            succeed(f"circuit {index}-{number}")

    in_threads(8, work)
    assert len(runtime.gates) <= 10
    circuits.flush()
    assert set(successes().values()) == {1}
    assert len(successes()) == 80


def test_only_the_gates_of_one_database_are_kept() -> None:
    gates, store = Gates(), DatabaseStore()
    for number, name in enumerate(names(30)):
        gate = gates.add(Gate(name, store, home="new" if number % 2 else "old"))
        next(gate.tallies.successes)
    let_go = set(names(30)) - set(gates)
    gates.keep_only("new")
    assert {gate.home for gate in gates.values()} == {"new"}
    with gates.all_of_them() as kept:
        assert {gate.name for gate in kept} == set(names(30)[1::2])
    assert let_go & set(names(30)[::2]), "some of the old ones had been let go before"


def test_forgetting_forgets_those_let_go_too(clock: Clock) -> None:
    use(clock, *names(30))
    runtime.forget()
    circuits.flush()
    assert set(successes().values()) == {0}


# A circuit that cannot be written does not disturb the others


def make_unmergeable(*names: str) -> None:
    """Give circuits rows with impossible values, so that a merge raises an error."""
    for name in names:
        CircuitFactory.create(name=name, strategy="rate")
        succeed(name)
        Circuit.objects.filter(name=name).update(window={"buckets": "none", "recent": 7})


def heard() -> int:
    """Return how many successes are in the window of the only circuit."""
    window: Any = Circuit.objects.get().window
    return sum(good for _start, good, *_ in window["buckets"])


def test_a_circuit_that_cannot_be_written_leaves_the_others_to_be(clock: Clock) -> None:
    succeed("before")
    make_unmergeable("senseless")
    succeed("after")
    with pytest.raises(TypeError) as caught:
        circuits.flush()
    assert caught.value.__notes__ == ["The circuit is senseless."]
    assert successes() == {"before": 1, "senseless": 0, "after": 1}


def test_what_it_holds_is_written_once_its_trouble_is_over(clock: Clock) -> None:
    make_unmergeable("senseless")
    for _ in range(3):
        succeed("senseless")
        with pytest.raises(TypeError):
            circuits.flush()
    Circuit.objects.update(window=None)
    circuits.flush()
    assert successes() == {"senseless": 4}
    assert heard() == 4, "for its failure rate too"


def test_several_in_trouble_are_all_told(clock: Clock) -> None:
    make_unmergeable("one", "two")
    succeed("well")
    with pytest.raises(ExceptionGroup) as caught:
        circuits.flush()
    assert caught.value.message == "Several circuits could not be written down."
    notes = [note for error in caught.value.exceptions for note in error.__notes__]
    assert sorted(notes) == ["The circuit is one.", "The circuit is two."]
    assert successes()["well"] == 1


def test_one_let_go_in_trouble_is_kept_and_the_others_let_go_are_written(clock: Clock) -> None:
    make_unmergeable("senseless")
    use(clock, *names(30))
    assert "senseless" not in runtime.gates
    with pytest.raises(TypeError):
        circuits.flush()
    assert successes() == {"senseless": 0, **dict.fromkeys(names(30), 1)}
    Circuit.objects.filter(name="senseless").update(window=None)
    circuits.flush()
    assert successes()["senseless"] == 1


class Held(FailSafeStore):
    """A store in which somebody has locked the rows of some circuits."""

    def __init__(self, *held: str) -> None:
        super().__init__(DatabaseStore(), MemoryStore())
        self.pinned = True
        self.held = set(held)
        self.asked: list[str] = []

    def flush(self, tallies: Sequence[Tally]) -> Sequence[Changed[Step] | None]:
        self.asked.append(" ".join(tally.name for tally in tallies))
        if self.held & {tally.name for tally in tallies}:
            raise OperationalError("canceling statement due to statement timeout")
        return [None] * len(tallies)


def gates_of(store: Held, *names: str) -> Gates:
    gates = Gates()
    for name in names:
        results.succeed(asking.admit(gates.add(Gate(name, store))))
    return gates


def flushed(gates: Gates, store: Held) -> list[str]:
    """Flush while writing fails; return the circuits of each attempt, in order."""
    store.asked = []
    with pytest.raises(OperationalError):
        write(gates, store)
    return store.asked


def write(gates: Gates, store: Held) -> None:
    with gates.all_of_them() as all_gates:
        flushing.flush(all_gates, store)


def test_a_row_that_somebody_holds_keeps_no_other_waiting() -> None:
    store = Held("b")
    gates = gates_of(store, "a", "b", "c", "d")
    assert flushed(gates, store) == ["a b c d", "a", "b", "c", "d"]
    assert flushed(gates, store) == ["b"], "the others are written"


def test_an_outage_is_not_waited_for_once_for_each_circuit() -> None:
    store = Held("a", "b", "c", "d", "e")
    gates = gates_of(store, "a", "b", "c", "d", "e")
    assert flushed(gates, store) == ["a b c d e", "a", "b"]
    # The next time, those that had no turn come first.
    assert flushed(gates, store) == ["c d e", "c", "d"]
    store.held = {"a"}
    assert flushed(gates, store) == ["e", "a", "b", "c", "d"]


class Broken(Held):
    """A store in which, besides, a circuit has values that make no sense."""

    def flush(self, tallies: Sequence[Tally]) -> Sequence[Changed[Step] | None]:
        if [tally.name for tally in tallies] == ["z"]:
            raise ZeroDivisionError
        return super().flush(tallies)


def test_an_error_that_nobody_has_logged_is_told_before_an_outage() -> None:
    store = Broken("a")
    gates = gates_of(store, "a", "z")
    with pytest.raises(ZeroDivisionError) as caught:
        write(gates, store)
    assert caught.value.__notes__ == ["The circuit is z."]


def test_no_more_is_kept_of_those_let_go_than_there_is_room_for(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    store = Held(*names(MOST_LEAVING + 50))
    gates = gates_of(store, *names(MOST_LEAVING + 50))
    let_go = MOST_LEAVING + 50 - len(gates)
    flushed(gates, store)
    store.held = set()
    store.asked = []
    write(gates, store)
    assert sum(len(asked.split(" c")) for asked in store.asked) == MOST_LEAVING + len(gates)
    [record] = caplog.records
    assert record.getMessage() == (
        f"What {let_go - MOST_LEAVING} circuits no longer in use had gathered could not be written "
        "for too long; their successes and refusals since then are lost."
    )


def kept_bytes(count: int) -> int:
    """Return how many bytes a process uses to keep ``count`` circuits."""
    import tracemalloc

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for name in names(count):
        runtime.gate(name).take(known(name))
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return used


def known(name: str) -> Any:
    return runtime.store.memory.read(name)


def test_the_memory_used_is_a_few_kilobytes_for_each_kept(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "MAX_SNAPSHOTS": 1_000}
    assert kept_bytes(1_000) < 1_000 * 6_000
