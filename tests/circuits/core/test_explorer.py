"""Every order of events up to a bound, on the real machine: three processes, a crash, late results.

In each state the promises are checked. Without one of its guards, the machine must break one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import pytest

from circuits.core import conviction, machine
from circuits.core.policy import Policy
from circuits.core.status import NOBODY, Failure, Permit, Reason, State, Status, Step, Witness

NOW: Final = 1000.0
POLICY: Final = Policy(threshold=2, delay=10, lease_seconds=30)
SETTLE: Final = 0.2
PROCESSES: Final = ("a", "b", "c")

#: Seconds after which any circuit must let somebody through.
LONG: Final = 400.0


@dataclass(frozen=True, slots=True)
class World:
    """A circuit, the calls that its processes have under way, and what really happened.

    Args:
        calls: The call under way of each process; None without one.
        runs: How many failures in a row each process has seen.
        alive: The processes that have not crashed.
        successes: When each process last succeeded.
        failed: The processes that have failed since the last success of any.
    """

    status: Status
    now: float = NOW
    calls: tuple[Permit | None, ...] = (None, None, None)
    runs: tuple[int, ...] = (0, 0, 0)
    alive: tuple[bool, ...] = (True, True, True)
    successes: tuple[float, ...] = (NOW - 99, NOW - 1, NOW - 1)
    failed: tuple[str, ...] = ()


class BrokenPromiseError(AssertionError):
    """A promise does not hold."""


@dataclass(frozen=True, slots=True)
class Guards:
    """The guards that keep the promises; a test takes one out."""

    generation: bool = True
    lease: bool = True
    conviction: bool = True


def _witness(process: str, guards: Guards) -> Witness:
    return Witness(process=process, judge_seconds=SETTLE) if guards.conviction else NOBODY


def _set(values: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    return (*values[:index], value, *values[index + 1 :])


def _admitted(world: World, index: int, guards: Guards) -> World:
    status = world.status if guards.lease else replace(world.status, leases=())
    token = f"{PROCESSES[index]}{world.now}"
    witness = _witness(PROCESSES[index], guards)
    step = machine.admit(status, POLICY, world.now, token, witness=witness)
    _check_opening(world, step, PROCESSES[index])
    return replace(world, status=step.status, calls=_set(world.calls, index, step.permit))


def _reported(world: World, index: int, guards: Guards, *, fails: bool) -> World:
    process, given = PROCESSES[index], world.calls[index]
    assert given is not None
    permit = given
    if not guards.generation:
        permit = replace(given, generation=world.status.generation)
    own_run = world.runs[index] + 1 if fails else 0
    witness = _witness(process, guards)
    if fails:
        settle = SETTLE if guards.conviction else 0.0  # the count alone decides
        failure = Failure(own_run=own_run, settle_seconds=settle, witness=witness)
        step = machine.fail(world.status, POLICY, permit, world.now, failure)
    else:
        step = machine.succeed(world.status, POLICY, permit, world.now, witness)
    if given.generation != world.status.generation and step.status != world.status:
        raise BrokenPromiseError("A result of another generation changes something.")
    counts = given.generation == world.status.generation
    failed = (*world.failed, process) if fails else ()
    after = replace(world, failed=failed if counts else world.failed)
    _check_opening(after, step, process)
    # The next flush tells the circuit of a success, of whatever generation.
    heard = conviction.heard_success(step.status, process, world.now)
    return replace(
        after,
        status=step.status if fails else heard,
        calls=_set(world.calls, index, None),
        runs=_set(world.runs, index, own_run),
        successes=world.successes if fails else _set(world.successes, index, world.now),
        failed=() if step.change else after.failed,
    )


def _check_opening(world: World, step: Step, process: str) -> None:
    change = step.change
    if change is None or change.reason is not Reason.FAILURES:
        return
    if len(world.failed) < POLICY.threshold:
        raise BrokenPromiseError("It opens after fewer failures in a row than the threshold.")
    others = [at for name, at in zip(PROCESSES, world.successes, strict=True) if name != process]
    started = world.status.run_started_at or world.now
    is_young = world.now - started < SETTLE
    if set(world.failed) == {process} and is_young and world.now - max(others) < 10:
        raise BrokenPromiseError("One process alone opens it for the others, which succeed.")


def _crashed(world: World, index: int, guards: Guards) -> World:
    alive, calls = _set(world.alive, index, False), _set(world.calls, index, None)
    return replace(world, alive=alive, calls=calls)


def _tried(world: World, guards: Guards) -> World:
    """Let an open circuit try at once, as an operator may."""
    return replace(world, status=machine.try_now(world.status, world.now).status)


def _later(world: World, seconds: float, guards: Guards) -> World:
    return replace(world, now=world.now + seconds)


def _events(world: World) -> Iterator[Callable[[Guards], World]]:
    for index, call in enumerate(world.calls):
        if not world.alive[index]:
            continue
        if call is None:
            yield partial(_admitted, world, index)
            continue
        yield partial(_reported, world, index, fails=True)
        yield partial(_reported, world, index, fails=False)
        if all(world.alive):
            yield partial(_crashed, world, index)
    if world.status.state is State.OPEN:
        yield partial(_tried, world)
    yield partial(_later, world, SETTLE)
    yield partial(_later, world, POLICY.delay)


def _check(world: World) -> None:
    status = world.status
    if status.state is State.HALF_OPEN:
        trials = [
            call
            for call in world.calls
            if call is not None and call.lease and call.generation == status.generation
        ]
        if len(trials) > POLICY.half_open_max_calls and world.now < NOW + POLICY.lease_seconds:
            raise BrokenPromiseError("More trials are under way than may be.")
    later, asking = world.now + LONG, status
    for index, process in enumerate(PROCESSES):
        if world.alive[index]:
            admission = machine.admit(
                asking, POLICY, later, "last", witness=Witness(process=process)
            )
            if admission.permit is not None:
                return
            asking, later = admission.status, later + LONG
    raise BrokenPromiseError("Nobody is ever let through again.")


def explore(start: World, depth: int, guards: Guards = Guards()) -> int:
    """Go through every order of events, and return the number of states."""
    seen, edge = {start}, [start]
    for _ in range(depth):
        following = []
        for world in edge:
            for event in _events(world):
                after = event(guards)
                if after not in seen:
                    _check(after)
                    seen.add(after)
                    following.append(after)
        edge = following
    return len(seen)


#: A closed circuit that b and c have lately reached, and one whose delay is just over.
WELL: Final = Status(succeeded_by="c", last_success_at=NOW - 1, other_succeeded_at=NOW - 1)
CLOSED = World(WELL)
OPENED = World(
    replace(WELL, state=State.OPEN, generation=1, opened_at=NOW - 10, retry_at=NOW, run_by="a"),
    calls=(Permit(0), None, None),
)


@pytest.mark.parametrize(("start", "depth"), [(CLOSED, 8), (OPENED, 7)], ids=["closed", "opened"])
def test_the_promises_hold_in_every_order_of_events(start: World, depth: int) -> None:
    assert explore(start, depth) > 10_000


@pytest.mark.parametrize(
    ("start", "guards", "missing"),
    [
        (OPENED, Guards(generation=False), "another generation"),
        (OPENED, Guards(lease=False), "More trials"),
        (CLOSED, Guards(conviction=False), "One process alone"),
    ],
    ids=["generation", "lease", "conviction"],
)
def test_a_guard_that_is_taken_out_is_missed(start: World, guards: Guards, missing: str) -> None:
    with pytest.raises(BrokenPromiseError, match=missing):
        explore(start, depth=6, guards=guards)
