"""The way into a circuit: a fast path that admits or refuses a call, and its async twin.

Code that begins a call here must report its outcome to :mod:`circuits.process.results`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic
from typing import Final

from django.core.exceptions import SynchronousOnlyOperation

from .. import conf
from ..storage.contract import Snapshot
from . import asking, faults, forks, nesting, results, threads
from .gate import Gate, PlacesTakenError, Ticket
from .nesting import held
from .runtime import gate, gates
from .waiting import Wait

_known: Final = gates.get


def admit(name: str) -> Ticket:
    """Return a ticket to make one call through the circuit.

    Raises:
        CircuitOpenError: The circuit refuses calls for now.
        InvalidInputError: The name is not valid for a circuit.
        TooManyCircuitsError: The circuit is new, and ``MAX_CIRCUITS`` exist already.
    """
    try:
        return admit_now(name)
    except PlacesTakenError as taken:
        return _wait(taken)


def admit_anywhere(name: str) -> Ticket:
    """Return a ticket as :func:`admit` does, even in an event loop, where a thread asks the store.

    The loop waits for that thread, as it waits for the sync function that is called next.
    """
    try:
        return admit(name)
    except SynchronousOnlyOperation:
        return threads.wait_in_thread(admit, name)


def _wait(taken: PlacesTakenError) -> Ticket:
    wait = Wait()
    while True:
        ticket = wait.take_turn(taken)
        if ticket is not None:
            return ticket
        try:
            return admit_now(taken.name)
        except PlacesTakenError as again:
            taken = again


def admit_now(name: str) -> Ticket:
    """Return a ticket as :func:`admit` does, but raise PlacesTakenError instead of waiting."""
    gate = _known(name)
    return (gate and gate.admit_in_memory()) or _admit_by_store(name)


def begin(
    name: str,
    now: float,
    admit: Callable[[str], Ticket] = admit,
    with_faults: bool = True,  # not by keyword alone, which would make every call slower
    timeout: float | None = inf,
) -> Ticket:
    """Begin a sync call through the circuit, and return its ticket.

    A call inside another one through the same circuit rides on the outer one's permit; see
    :mod:`circuits.process.nesting`.

    Args:
        now: The present time on the monotonic clock. The caller keeps it for the report of the
            outcome, since the ticket that plain calls share has no start.
        admit: The function to ask if memory cannot answer, such as :func:`admit_anywhere`.
        with_faults: Whether faults are injected here. The caller does so later if not.
        timeout: Seconds for which the caller waits for an answer; None for the circuit's own
            timeout. An injected delay does not take longer.

    Raises:
        InjectedFailureError: The call fails, which has been reported; see
            :mod:`circuits.process.faults`.
        CircuitOpenError: The circuit refuses calls for now.
        InvalidInputError: The name is not valid for a circuit.
        TooManyCircuitsError: The circuit is new, and ``MAX_CIRCUITS`` exist already.
    """
    gate = _known(name)
    if gate is not None:
        view = gate.view
        if not held() or nesting.is_outside(gate):
            if now < view.shares_until:
                return view.leave
            if now < view.refuses_until:
                # Raise here: each frame it passes through costs as much as the rest of a refusal.
                raise gate.refused(view.retry_at - now, "open", view.is_alone)
    ticket = None if gate is None else nesting.ride(gate)
    if ticket is not None:
        return ticket
    ticket = admit(name)
    ticket.gate.share()  # once this call is timed, as a sample
    ticket = nesting.enter(ticket)
    if with_faults and ticket.gate.view.injection is not None:
        faults.suffer(ticket, timeout)
    return ticket


def begin_own(name: str, timeout: float | None = inf) -> Ticket:
    """Begin a sync call as :func:`begin` does, but always with a ticket of its own.

    This is for calls that take so long that the extra cost does not matter.
    """
    ticket = begin(name, monotonic(), timeout=timeout)
    return nesting.enter(ticket) if ticket.is_plain else ticket


async def abegin(
    name: str,
    timeout: float | None = inf,  # noqa: ASYNC109 - that of the call, which is yet to be made
    *,
    with_faults: bool = True,
) -> Ticket:
    """Begin an async call as :func:`begin_own` does, without blocking the event loop."""
    ticket = begin_in_memory(name)
    if ticket is not None:
        return ticket
    ticket = nesting.enter(await aadmit(name))
    if with_faults and ticket.gate.view.injection is not None:
        await faults.asuffer(ticket, timeout)
    return ticket


def begin_in_memory(name: str) -> Ticket | None:
    """Begin an async call; return None if memory alone cannot decide, or if it has to wait.

    No fault is injected into a call that memory lets through.
    """
    known = _known(name)
    if known is None:
        return None
    rider = nesting.ride(known) if held() else None
    if rider is not None:
        return rider
    try:
        ticket = known.admit_in_memory()
    except PlacesTakenError:
        return None
    return ticket and nesting.enter(ticket)


async def aadmit(name: str) -> Ticket:
    """Return a ticket to make one call, as :func:`admit` does, without blocking the event loop."""
    wait = Wait()
    while True:
        try:
            return await _aadmit_now(name)
        except PlacesTakenError as taken:
            ticket = await wait.atake_turn(taken)
        if ticket is not None:
            return ticket


async def _aadmit_now(name: str) -> Ticket:
    known = _known(name)
    ticket = known.admit_in_memory() if known is not None else None
    if ticket is None and (known is None or conf.get().snapshot_seconds):
        # One thread reads the circuit for all tasks of the loop that ask at the same time.
        gate, snapshot = await threads.in_thread_for_all(name, current, name)
        ticket = gate.admit_by(snapshot)
    if ticket is not None:
        return ticket
    return await threads.in_thread(admit_now, name, undo=results.release)


async def asucceed(ticket: Ticket) -> None:
    """Report a success, as :func:`results.succeed` does, without blocking the event loop."""
    if results.succeed_in_memory(ticket, ticket.started_at):
        await astore_success(ticket)


async def astore_success(ticket: Ticket) -> None:
    """Do what :func:`results.store_success` does, without blocking the event loop."""
    gate = ticket.gate
    if results.needs_only_a_look(ticket):
        await threads.in_thread_for_all(gate, asking.current, gate)
        if not gate.view.is_counting:
            return
    await threads.in_thread(results.store_success, ticket)


def _admit_by_store(name: str) -> Ticket:
    try:
        with _perhaps_new(name) as known:
            return asking.admit(known)
    except SynchronousOnlyOperation:
        raise SynchronousOnlyOperation(
            f"The circuit {name} must ask its database, which a sync call may not do in an event "
            "loop; use `async with circuits.guard` or an async function."
        ) from None


def current(name: str) -> tuple[Gate, Snapshot]:
    """Return the gate of a circuit and its current snapshot; this may ask the store."""
    with _perhaps_new(name) as known:
        return known, asking.current(known)


@contextmanager
def _perhaps_new(name: str) -> Iterator[Gate]:
    forks.notice()
    found = gate(name)
    try:
        yield found
    finally:
        if found.snapshot is None:
            # The store refused the name, which must not take up memory.
            gates.pop(name, None)
