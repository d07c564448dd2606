"""Calls inside calls through the same circuit: the inner one rides on the outer one's permit.

Which calls a thread or task is inside of is kept in a context variable, so a task, or a thread that
is started with a copy of the context, is inside of them too for as long as they last. To change the
variable costs as much as half a call. So while a circuit is healthy, a plain sync call is not
entered in it; in its place it asks when it ends whether a call inside has told the circuit. It need
not even ask where no call through its circuit was ever entered.
"""

from __future__ import annotations

from contextvars import ContextVar
from time import monotonic
from typing import Final

from .gate import Gate, Ticket
from .observers import CallOutcome
from .sharing import Shared

#: The most tickets of calls that have ended which a thread or task keeps.
MOST_ENDED: Final = 8

_tickets: Final[ContextVar[tuple[Ticket, ...]]] = ContextVar("circuits_tickets", default=())

#: Returns the tickets of the calls that this thread or task is inside of, the outermost first.
#: Among them are some that have ended, for the calls around them that were not entered.
held: Final = _tickets.get

#: To look up a member of an enum takes as long as a step of a call does.
_SUCCESS: Final = CallOutcome.SUCCESS

_TOLD: Final = (CallOutcome.SUCCESS, CallOutcome.FAILURE)


def enter(ticket: Ticket) -> Ticket:
    """Enter a call, so that calls inside it ride on it; return its ticket, one of its own."""
    if ticket.is_plain:
        ticket = Ticket(ticket.gate, ticket.permit, monotonic())
    _keep(ticket)
    return ticket


def ride(gate: Gate) -> Ticket | None:
    """Return a ticket on the permit of the call through this circuit that this one is inside of.

    Return None where there is none.
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
        # Only now, since to leave alone takes no lock.
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


def is_idle() -> bool:
    """Return whether all that is held has ended and says nothing any more; forget it then."""
    if all(each.has_left and not _matters(each) for each in held()):
        _tickets.set(())
        return True
    return False


def _matters(ended: Ticket) -> bool:
    """Return whether a call around an ended one must still hear of its outcome.

    A failure keeps it from counting as a success, or once more as a failure, unless the circuit has
    changed since: its permit is of no use any more then.
    """
    return ended.told is CallOutcome.FAILURE and ended.gate.view.is_current(ended.permit)


def told(gate: Gate) -> CallOutcome | None:
    """Return what a call inside has told the circuit, for a call that is not entered."""
    for each in reversed(held()):
        if each.gate is gate and each.told in _TOLD:
            return each.told
    return None


def tell(gate: Gate, outcome: CallOutcome) -> None:
    """Leave word of an outcome to the calls around this one, where neither is entered."""
    ticket = Ticket(gate, gate.view.leave.permit)
    leave(ticket, outcome)
    _keep(ticket)


def _keep(ticket: Ticket) -> None:
    gate, kept = ticket.gate, held()
    gate.has_entered = True
    if kept:
        kept = tuple([each for each in kept if each.gate is not gate or not each.has_left])
        if len(kept) > MOST_ENDED:
            kept = tuple([each for each in kept if not each.has_left])
    _tickets.set((*kept, ticket) if kept else (ticket,))
