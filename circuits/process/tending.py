"""Tends the calls under way: counts those that are overdue, and renews the leases of trials."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Final

from django.db import Error

from .. import once_a_minute
from ..core import machine
from . import asking, results
from .gate import Ticket
from .underway import PAUSE, Underway, keeps_lease, next_look

logger = logging.getLogger("circuits")

#: The most calls in one look, so that the pulse does not neglect its other work.
MOST_AT_ONCE: Final = 100


def tend(underway: Underway[Ticket]) -> float:
    """Look at the calls that are due; return when to look again, on the monotonic clock."""
    now = monotonic()
    for ticket in underway.due(now)[:MOST_AT_ONCE]:
        try:
            _tend(ticket, now)
        except Exception as error:  # one circuit's trouble must not affect the others
            is_outage = isinstance(error, Error)  # the store logs outages
            if not is_outage and once_a_minute.is_due("tending"):
                name = ticket.gate.name
                logger.exception("Could not look after a call of the circuit %s.", name)
    return max(underway.next_look(), now + PAUSE)


def _tend(ticket: Ticket, now: float) -> None:
    gate, permit = ticket.gate, ticket.permit
    ticket.look_at = next_look(ticket, gate.snapshot, now)
    if gate.is_private:
        return  # its row is locked until the caller's transaction ends
    if ticket.is_counted:
        results.reconsider_overdue(ticket)
    elif results.is_slow(ticket):
        results.count_overdue(ticket)
    elif keeps_lease(ticket, gate.snapshot, now):
        asking.change(gate, lambda row: machine.renew(row.status, row.policy, permit, row.now))
