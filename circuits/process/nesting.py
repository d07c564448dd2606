"""Calls inside calls through the same circuit: the inner one rides on the outer one's permit.

A context variable holds the calls that a thread or task is inside of. A task or thread that is
started with a copy of the context is inside of them too, for as long as they last. Changing the
variable costs half as much as a call. So while a circuit is healthy, a plain sync call is not
entered there. Instead, when it ends, it asks whether a call inside has reported to the circuit.
"""

from __future__ import annotations

from contextvars import ContextVar
from time import monotonic
from typing import Final

from .gate import Gate, Ticket
from .observers import CallOutcome
from .sharing import Shared

#: The most tickets of ended calls that a thread or task keeps.
MOST_ENDED: Final = 8

_tickets: Final[ContextVar[tuple[Ticket, ...]]] = ContextVar("circuits_tickets", default=())

#: Returns the tickets of the calls that this thread or task is inside of, the outermost first.
#: Some of them have ended, and are kept for the calls around them that were not entered.
held: Final = _tickets.get

#: A name of its own, since looking up a member of an enum is slow on the hot path.
_SUCCESS: Final = CallOutcome.SUCCESS

_TOLD: Final = (CallOutcome.SUCCESS, CallOutcome.FAILURE)


def enter(ticket: Ticket) -> Ticket:
    """Enter a call, so that calls inside it ride on it; return a ticket of its own."""
    if ticket.is_plain:
        ticket = Ticket(ticket.gate, ticket.permit, monotonic())
    _keep(ticket)
    return ticket


def ride(gate: Gate) -> Ticket | None:
    """Return a ticket on the permit of the call around this one through the same circuit.

    Return None if there is no such call.
    """
    for outer in reversed(held()):
        if outer.gate is gate and not outer.has_left:
            rider = _ride_on(outer)
            if rider is not None:
                _keep(rider)
                return rider
    return None


def _ride_on(outer: Ticket) -> Ticket | None:
    """Return a ticket on the permit of a call, for one inside it.

    Return None if the outer call has ended, or if its permit is of no use any more: one that has
    had its outcome, or is of another generation, lets no further call through.
    """
    gate = outer.gate
    with gate.sharing:
        if outer.shared is None:
            outer.shared = Shared(outer)
        # Checked only now, since leave_alone() takes no lock.
        if outer.has_left or outer.shared.is_over:
            return None
        if gate.view.is_current(outer.permit):
            outer.shared.calls += 1
            rider = Ticket(gate, outer.permit, outer.started_at)
            rider.shared = outer.shared
            return rider
        outer.shared.is_over = True
    outer.shared.holder.end(CallOutcome.IGNORED)
    return None


def leave(ticket: Ticket, outcome: CallOutcome) -> CallOutcome | None:
    """Take note that a call has ended, and return the outcome of its permit.

    Return None if the permit has had its outcome, or waits for that of another call.
    """
    if ticket.is_plain:
        return outcome
    with ticket.gate.sharing:
        ticket.has_left, ticket.told = True, outcome
        return outcome if ticket.shared is None else ticket.shared.hear(outcome)


def leave_alone(ticket: Ticket) -> bool:
    """Take note that a call has succeeded; return false if there is more to do than that."""
    ticket.has_left = True
    if ticket.shared is not None or ticket.has_place or ticket.is_watched:
        return False
    ticket.told = _SUCCESS
    return True


def is_outside(gate: Gate) -> bool:
    """Return whether a call that begins now is inside no other one through its circuit.

    If so, forget the ended calls of the circuit, or its own end would take their outcome for that
    of a call inside it. If no held ticket matters to any circuit, forget them all.
    """
    kept = held()
    if any(each.gate is gate and _matters(each) for each in kept):
        return False
    others = tuple([each for each in kept if each.gate is not gate])
    if not any(map(_matters, others)):
        _tickets.set(())
    elif len(others) < len(kept):
        _tickets.set(others)
    return True


def _matters(ticket: Ticket) -> bool:
    """Return whether a call is under way, or a call around it must still hear of its outcome.

    A failure keeps the outer call from counting as a success, or as a second failure. If the
    circuit has changed since, the outer call's permit no longer counts anyway.
    """
    if not ticket.has_left:
        return True
    return ticket.told is CallOutcome.FAILURE and ticket.gate.view.is_current(ticket.permit)


def told(gate: Gate) -> CallOutcome | None:
    """Return the outcome that a call inside has reported, for an outer one that is not entered."""
    for each in reversed(held()):
        if each.gate is gate and each.told in _TOLD:
            return each.told
    return None


def tell(gate: Gate, outcome: CallOutcome) -> None:
    """Keep an outcome for the calls around this one, if neither is entered."""
    ticket = Ticket(gate, gate.view.leave.permit)
    leave(ticket, outcome)
    _keep(ticket)


def _keep(ticket: Ticket) -> None:
    gate, kept = ticket.gate, held()
    if kept:
        kept = tuple([each for each in kept if each.gate is not gate or not each.has_left])
        if len(kept) > MOST_ENDED:
            kept = tuple([each for each in kept if not each.has_left])
    _tickets.set((*kept, ticket) if kept else (ticket,))
