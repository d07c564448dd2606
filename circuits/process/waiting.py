"""Waits for a place if ``max_concurrent`` are taken, for as long as ``max_wait_seconds`` allows.

Threads and tasks stand in one queue. A wait holds only its turn: no thread of async code, no
connection, no lease.
"""

from __future__ import annotations

from functools import partial
from threading import Event
from time import monotonic

from . import loops
from .gate import BUSY_RETRY_SECONDS, PlacesTakenError, Ticket
from .places import Turn


class Wait:
    """One caller's wait for a place, over all the turns that it takes."""

    def __init__(self) -> None:
        self._ends_at: float | None = None

    def take_turn(self, taken: PlacesTakenError) -> Ticket | None:
        """Wait for a place; return None if the circuit has changed and must be asked again.

        Raises:
            CircuitBusyError: No place has become free in time.
        """
        event = Event()
        turn = taken.gate.places.queue(taken.limit, event.set)
        try:
            event.wait(self._left(taken))
        except BaseException:
            _give_up(taken, turn)
            raise
        return _seated(taken, turn, is_woken=event.is_set())

    async def atake_turn(self, taken: PlacesTakenError) -> Ticket | None:
        """Wait for a place as :meth:`take_turn` does, without blocking the event loop."""
        loop = loops.current()
        event = loops.event(loop)
        turn = taken.gate.places.queue(taken.limit, partial(loops.soon, loop, event.set))
        try:
            await loops.wait_for(event, self._left(taken))
        except BaseException:
            _give_up(taken, turn)
            raise
        return _seated(taken, turn, is_woken=event.is_set())

    def _left(self, taken: PlacesTakenError) -> float:
        now = monotonic()
        if self._ends_at is None:
            self._ends_at = now + taken.seconds
        return max(0.0, self._ends_at - now)


def _give_up(taken: PlacesTakenError, turn: Turn) -> None:
    """Leave the queue because the caller was cancelled, and pass on the place it may have got."""
    if taken.gate.places.quit(turn):
        taken.gate.places.leave()


def _seated(taken: PlacesTakenError, turn: Turn, *, is_woken: bool) -> Ticket | None:
    """Return the ticket of a turn that has a place; None if the circuit must be asked again."""
    gate, permit = taken.gate, taken.permit
    has_place = gate.places.quit(turn)
    if has_place and gate.view.is_current(permit) and monotonic() >= gate.view.refuses_until:
        return gate.ticket(permit, has_place=True)
    if has_place:
        gate.places.leave()
    elif not is_woken:
        raise gate.refused(BUSY_RETRY_SECONDS, "busy")
    return None
