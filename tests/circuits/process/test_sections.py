"""Sections that only one thread at a time may enter: here threads try to meet inside."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest
from pytest_django import Settings

import circuits
from circuits.core import machine
from circuits.core.status import Step
from circuits.models import Circuit
from circuits.process import asking
from circuits.process.gate import Gate, Ticket
from circuits.process.gates import Gates
from circuits.process.places import Places
from circuits.process.tallies import Tallies
from circuits.process.view import View
from circuits.storage.contract import Snapshot
from circuits.storage.database import DatabaseStore
from circuits.storage.memory import MemoryStore
from tests.concurrency import PATIENCE, Meeting, in_threads, switching_often
from tests.factories import CircuitFactory


def test_a_circuit_in_memory_is_changed_by_one_thread_at_a_time() -> None:
    store, meeting = MemoryStore(), Meeting()

    def decide(row: Snapshot) -> Step:
        meeting.pass_through()
        return machine.reset(row.status, row.now)

    in_threads(2, lambda index: store.change("payments", decide))
    assert not meeting.has_happened


@pytest.mark.usefixtures("committed")
def test_a_view_that_is_being_changed_never_replaces_a_newer_one() -> None:
    CircuitFactory.create(name="payments")
    store = DatabaseStore()
    gate = Gate("payments", store)
    asking.current(gate)
    changing, taken = Event(), Event()

    def slowly(view: View[Ticket]) -> View[Ticket]:
        changing.set()
        taken.wait(Meeting.SECONDS)  # it is set only if nothing keeps the other thread out
        return view.without_run()

    def work(index: int) -> None:
        if index == 0:
            gate.swap(slowly)
            return
        Circuit.objects.update(mode="forced_open", generation=7)
        assert changing.wait(PATIENCE)
        gate.take(store.read("payments"))
        taken.set()

    in_threads(2, work)
    assert gate.snapshot is not None
    assert gate.snapshot.status.generation == 7
    with pytest.raises(circuits.CircuitOpenError):
        asking.admit(gate)


def test_of_two_gates_for_one_name_the_first_is_kept() -> None:
    gates, store = Gates(), DatabaseStore()
    first, second = Gate("payments", store), Gate("payments", store)
    assert gates.add(first) is first
    assert gates.add(second) is first
    assert gates["payments"] is first


class Used:
    """The part of a gate that decides which gates make room for others."""

    is_troubled = True  # so that it is kept until it is written

    def __init__(self, name: str, meeting: Meeting) -> None:
        self.name = name
        self._meeting = meeting

    @property
    def used_at(self) -> float:
        self._meeting.pass_through()
        return 0.0


def test_room_is_made_by_one_thread_at_a_time(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "MAX_SNAPSHOTS": 10}
    gates, meeting = Gates(), Meeting()
    many: list[Any] = [Used(f"circuit {number}", meeting) for number in range(12)]
    for each in many[:10]:
        gates.add(each)
    in_threads(2, lambda index: gates.add(many[10 + index]))
    assert not meeting.has_happened
    with gates.all_of_them() as every_one:
        assert {gate.name for gate in every_one} == {gate.name for gate in many}


def test_places_are_given_by_one_thread_at_a_time() -> None:
    places, meeting = Places(), Meeting()
    assert places.enter(1)
    turns = [places.queue(1, meeting.pass_through) for _ in range(2)]
    in_threads(2, lambda index: places.leave())
    assert not meeting.has_happened
    assert [turn.has_place for turn in turns] == [True, True]
    assert (places.taken, places.waiting) == (1, 0)


def test_threads_that_take_at_once_take_each_refusal_once() -> None:
    tallies = Tallies()

    def work(index: int) -> int:
        refused = 0
        for _ in range(3_000):
            next(tallies.refusals)
            taken = tallies.take()
            if taken is not None:
                refused += sum(taken.refused.values())
        return refused

    with switching_often():
        taken = sum(in_threads(4, work))
    last = tallies.take()
    left = 0 if last is None else sum(last.refused.values())
    assert taken + left == 4 * 3_000
