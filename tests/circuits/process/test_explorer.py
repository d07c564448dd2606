"""Every order of steps up to a bound, through the gates of three processes and the row they share.

There are no threads: the explorer picks the next step, which is a call that begins or ends, a
flush, a crash, or time that passes. In each state the promises are checked. With a row that lacks a
guard, one of them must break.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, NamedTuple

import pytest
from pytest_django import Settings

from circuits.core.policy import Policy
from circuits.core.status import Failure, Lease, Permit, Reason, State, Status
from circuits.exceptions import CircuitOpenError
from circuits.process import asking, flushing, results
from circuits.process.gate import Gate, Ticket
from circuits.storage.contract import Snapshot
from tests import clock as clocks
from tests.faults.fleet import NAME, SharedRow

NOW: Final = 1000.0
POLICY: Final = Policy(threshold=2, delay=10, lease_seconds=30)
SNAPSHOT_SECONDS: Final = 0.2
PROCESSES: Final = ("a", "b", "c")

#: Seconds for which a success of another process counts in favour of the remote.
RECENT: Final = 10.0

#: Seconds after which any circuit must let somebody through.
LONG: Final = 400.0


class Event(NamedTuple):
    """A step: what happens, and in which process."""

    what: str
    whose: int = -1


class Call(NamedTuple):
    """A call under way, with the number of changes and the time when it began."""

    ticket: Ticket
    changes: int
    began_at: float


class BrokenPromiseError(AssertionError):
    """A promise does not hold."""


class RowWithout(SharedRow):
    """A row in which some columns keep a given value, whatever is written to them."""

    def __init__(self, clock: clocks.Clock, lacks: Mapping[str, Any]) -> None:
        super().__init__(POLICY, clock)
        self._lacks = lacks

    def read(self, name: str, known: Snapshot | None = None) -> Snapshot:
        """Return the circuit, with the given values in those columns."""
        self.status = replace(self.status, **self._lacks)
        return super().read(name, known)


class HeedlessRow(SharedRow):
    """A row that counts failures of any generation."""

    def __init__(self, clock: clocks.Clock) -> None:
        super().__init__(POLICY, clock)

    def count_failure(
        self, snapshot: Snapshot, permit: Permit, failure: Failure, error: str
    ) -> bool:
        """Count a failure as if its call had been let through just now."""
        present = replace(permit, generation=self.status.generation)
        return super().count_failure(snapshot, present, failure, error)


#: Makes the row of a world, given its clock.
MakeRow = Callable[[clocks.Clock], SharedRow]


def whole(clock: clocks.Clock) -> SharedRow:
    """Return a row that lacks nothing."""
    return SharedRow(POLICY, clock)


@dataclass(frozen=True, slots=True)
class Start:
    """The state in which exploring begins.

    Args:
        status: The contents of the row.
        events: The steps that happen first.
    """

    status: Status
    events: tuple[Event, ...] = ()


class World:
    """Three processes, their calls under way, and what really happened.

    Attributes:
        failed: The processes that failed since the last success of any.
        succeeded: When each process last succeeded.
        told: When each process last succeeded as far as the row knows.
    """

    def __init__(self, clock: clocks.Clock, start: Start, make_row: MakeRow) -> None:
        clock.now = NOW
        self.clock = clock
        self.row = make_row(clock)
        self.row.status = start.status
        self.gates = [Gate(NAME, self.row, process=process) for process in PROCESSES]
        self.calls: list[Call | None] = [None] * len(PROCESSES)
        self.alive = [True] * len(PROCESSES)
        self.failed: list[int] = []
        at = start.status.last_success_at
        self.succeeded = self.told = [None, at, at]
        for event in start.events:
            self.take(event)

    def events(self) -> Iterator[Event]:
        """Yield the steps that can happen next."""
        for index, call in enumerate(self.calls):
            if not self.alive[index]:
                continue
            if self.succeeded[index] != self.told[index]:
                yield Event("flush", index)
            if call is None:
                yield Event("begin", index)
                continue
            yield Event("succeed", index)
            yield Event("fail", index)
            if all(self.alive):
                yield Event("crash", index)
        yield Event("moment")
        yield Event("delay")

    def take(self, event: Event) -> None:
        """Let a step happen."""
        match event.what:
            case "begin":
                self._begin(event.whose)
            case "succeed" | "fail":
                self._end(event.whose, fails=event.what == "fail")
            case "flush":
                flushing.flush([self.gates[event.whose]], self.row)
                self.told = _set(self.told, event.whose, self.succeeded[event.whose])
            case "crash":
                self.alive[event.whose] = False
                self.calls[event.whose] = None
            case "moment":
                self.clock.pass_by(SNAPSHOT_SECONDS)
            case "delay":
                self.clock.pass_by(POLICY.delay)

    def _begin(self, index: int) -> None:
        changes, before = len(self.row.changes), self.row.status
        try:
            ticket = asking.admit(self.gates[index])
        except CircuitOpenError:
            pass
        else:
            self.calls[index] = Call(ticket, len(self.row.changes), self.clock.now)
        self._check_changes(changes, before, index)
        self._check_trials()

    def _end(self, index: int, *, fails: bool) -> None:
        call = self.calls[index]
        assert call is not None
        self.calls[index] = None
        changes, before = len(self.row.changes), self.row.read(NAME).status
        is_late = call.changes != changes
        if fails:
            self.failed += [] if is_late else [index]
            results.fail(call.ticket, "down")
        else:
            results.succeed(call.ticket)
            self.succeeded = _set(self.succeeded, index, self.clock.now)
            self.failed = []
        if is_late and _decisive(before) != _decisive(self.row.read(NAME).status):
            raise BrokenPromiseError("A result of another generation changes something.")
        self._check_changes(changes, before, index)

    def _check_changes(self, since: int, before: Status, index: int) -> None:
        for change in self.row.changes[since:]:
            if change.reason is Reason.FAILURES:
                self._check_opening(before, index)
            self.failed = []

    def _check_opening(self, before: Status, index: int) -> None:
        if len(self.failed) < POLICY.threshold:
            raise BrokenPromiseError("It opens after fewer failures in a row than the threshold.")
        others = [at for other, at in enumerate(self.told) if other != index and at is not None]
        began = before.run_started_at or self.clock.now
        is_young = self.clock.now - began < SNAPSHOT_SECONDS
        is_lone = set(self.failed) == {index}
        if is_lone and is_young and any(self.clock.now - at < RECENT for at in others):
            raise BrokenPromiseError("One process alone opens it for the others, which succeed.")

    def _check_trials(self) -> None:
        trials = [
            call
            for call in self.calls
            if call is not None
            and call.ticket.permit.lease is not None
            and call.changes == len(self.row.changes)
            and self.clock.now < call.began_at + POLICY.lease_seconds
        ]
        is_half_open = self.row.status.state is State.HALF_OPEN
        if is_half_open and len(trials) > POLICY.half_open_max_calls:
            raise BrokenPromiseError("More trials are under way than may be.")

    def check_that_it_goes_on(self) -> None:
        """Check that a call is let through in the end; the world cannot be used afterwards."""
        for index, gate in enumerate(self.gates):
            if self.alive[index]:
                self.clock.pass_by(LONG)
                try:
                    asking.admit(gate)
                except CircuitOpenError:
                    continue
                return
        raise BrokenPromiseError("Nobody is ever let through again.")

    def state(self) -> tuple[Any, ...]:
        """Return the key that identifies this state; of a token it says only that there is one."""
        gates = [
            (
                gate.view.snapshot and (_plain(gate.view.snapshot.status), gate.view.snapshot.now),
                gate.view.fresh_until,
                gate.view.plain_until,
                gate.view.refuses_until,
                gate.view.is_counting,
                gate.tallies.own_run,
                gate.tallies.succeeded_at,
            )
            for gate in self.gates
        ]
        calls = [
            call and (call.changes, call.began_at, call.ticket.permit.lease is None)
            for call in self.calls
        ]
        return (
            self.clock.now,
            _plain(self.row.status),
            *gates,
            *calls,
            *self.alive,
            *self.succeeded,
            *self.told,
            *self.failed,
        )


def _set(values: list[Any], index: int, value: Any) -> list[Any]:
    return [*values[:index], value, *values[index + 1 :]]


def _plain(status: Status) -> Status:
    """Return the status with its random tokens replaced by fixed ones."""
    leases = tuple(Lease("", lease.expires_at) for lease in status.leases)
    alone = tuple(replace(each, token="x" * bool(each.token)) for each in status.quarantines)
    return replace(status, leases=leases, quarantines=alone)


def _decisive(status: Status) -> tuple[Any, ...]:
    """Return the fields that a late outcome must not change; those about successes may change."""
    return status.state, status.generation, status.failure_count, status.leases, status.accuser


def explore(clock: clocks.Clock, start: Start, depth: int, make_row: MakeRow = whole) -> int:
    """Go through every order of steps, and return the number of states.

    Each state is reached again from the start, since a gate cannot be copied.
    """

    def reached(events: tuple[Event, ...]) -> World:
        world = World(clock, start, make_row)
        for event in events:
            world.take(event)
        return world

    first = reached(())
    seen = {first.state()}
    edge: list[tuple[tuple[Event, ...], tuple[Event, ...]]] = [((), tuple(first.events()))]
    for _ in range(depth):
        following = []
        for path, events in edge:
            for event in events:
                after = (*path, event)
                world = reached(after)
                state = world.state()
                if state not in seen:
                    seen.add(state)
                    following.append((after, tuple(world.events())))
                    world.check_that_it_goes_on()
        edge = following
    return len(seen)


#: A closed circuit that b and c have lately reached.
WELL: Final = Start(
    Status(
        changed_at=NOW - 60, succeeded_by="c", last_success_at=NOW - 1, other_succeeded_at=NOW - 1
    )
)

#: A circuit that b opened a delay ago, while an earlier call of a is under way.
OPENED: Final = Start(
    Status(changed_at=NOW - 60),
    (
        Event("begin", 0),
        *(Event(what, 1) for _ in range(POLICY.threshold) for what in ("begin", "fail")),
        Event("delay"),
    ),
)


@pytest.fixture
def clock(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, settings: Settings
) -> clocks.Clock:
    seconds = {"SNAPSHOT_SECONDS": SNAPSHOT_SECONDS, "FLUSH_SECONDS": 5}
    settings.CIRCUITS = {**settings.CIRCUITS, **seconds}
    caplog.set_level(logging.CRITICAL, "circuits")
    return clocks.install(monkeypatch)


@pytest.mark.parametrize(("start", "depth"), [(WELL, 5), (OPENED, 4)], ids=["well", "opened"])
def test_the_promises_hold_in_every_order_of_steps(
    clock: clocks.Clock, start: Start, depth: int
) -> None:
    assert explore(clock, start, depth) > 500


#: The columns that tell of the successes of others, with the values of a row that knows none.
SUCCESSES: Final = {"succeeded_by": "", "last_success_at": None, "other_succeeded_at": None}


@pytest.mark.parametrize(
    ("start", "make_row", "missing"),
    [
        (OPENED, HeedlessRow, "another generation"),
        (OPENED, partial(RowWithout, lacks={"leases": ()}), "More trials"),
        (WELL, partial(RowWithout, lacks=SUCCESSES), "One process alone"),
    ],
    ids=["generation", "lease", "conviction"],
)
def test_a_guard_that_is_taken_out_is_missed(
    clock: clocks.Clock, start: Start, make_row: MakeRow, missing: str
) -> None:
    with pytest.raises(BrokenPromiseError, match=missing):
        explore(clock, start, depth=5, make_row=make_row)
