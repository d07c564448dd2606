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

#: The most tickets of calls that have ended which a thread or task keeps.
MOST_ENDED: Final = 8

_tickets: Final[ContextVar[tuple[Ticket, ...]]] = ContextVar("circuits_tickets", default=())

#: Returns the tickets of the calls that this thread or task is inside of, the outermost first.
#: Among them are some that have ended, for the calls around them that were not entered.
held: Final = _tickets.get

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
            rider = outer.ride()
            if rider is not None:
                _keep(rider)
                return rider
    return None


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
    return ended.told is CallOutcome.FAILURE and ended.gate.is_current(ended.permit)


def told(gate: Gate) -> CallOutcome | None:
    """Return what a call inside has told the circuit, for a call that is not entered."""
    for each in reversed(held()):
        if each.gate is gate and each.told in _TOLD:
            return each.told
    return None


def tell(gate: Gate, outcome: CallOutcome) -> None:
    """Leave word of an outcome to the calls around this one, where neither is entered."""
    ticket = Ticket(gate, gate.view.leave.permit)
    ticket.leave(outcome)
    _keep(ticket)


def _keep(ticket: Ticket) -> None:
    gate, kept = ticket.gate, held()
    gate.has_entered = True
    if kept:
        kept = tuple([each for each in kept if each.gate is not gate or not each.has_left])
        if len(kept) > MOST_ENDED:
            kept = tuple([each for each in kept if not each.has_left])
    _tickets.set((*kept, ticket) if kept else (ticket,))
