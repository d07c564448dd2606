"""Injects faults into calls that a circuit has let through, before they reach their remote.

A call that is to fail is reported as a failure here and raises
:class:`~circuits.exceptions.InjectedFailureError`. A late one waits, and is then made.
"""

from __future__ import annotations

from math import inf
from time import sleep

from ..exceptions import InjectedFailureError
from ..redaction import describe
from . import loops, results, threads
from .gate import Ticket


def suffer(ticket: Ticket, timeout: float | None = inf) -> None:
    """Inject a fault into a call that has just begun, if one is due.

    Args:
        timeout: Seconds for which the caller waits for an answer; None for the circuit's own
            timeout.

    Raises:
        InjectedFailureError: The call fails, which has been reported.
    """
    seconds, error = _due(ticket, timeout)
    if seconds:
        try:
            sleep(seconds)
        except BaseException:
            results.release(ticket)
            raise
    if error is not None:
        results.fail(ticket, describe(error))
        raise error


async def asuffer(
    ticket: Ticket,
    timeout: float | None = inf,  # noqa: ASYNC109 - that of the call, which is yet to be made
) -> None:
    """Inject a fault as :func:`suffer` does, without blocking the event loop."""
    seconds, error = _due(ticket, timeout)
    if seconds:
        try:
            await loops.sleep(seconds)
        except BaseException:  # the caller was cancelled
            results.release(ticket)
            raise
    if error is not None:
        await threads.in_thread(results.fail, ticket, describe(error))
        raise error


def _due(ticket: Ticket, timeout: float | None) -> tuple[float, InjectedFailureError | None]:
    """Return for how long a call has to wait, and what it then fails with, if it does."""
    gate = ticket.gate
    fault = gate.fault()
    if fault is None:
        return 0.0, None
    if fault.fails:
        return 0.0, InjectedFailureError(gate.name)
    patience = gate.view.timeout if timeout is None else timeout
    if fault.delay < patience:
        return fault.delay, None
    return patience, InjectedFailureError(gate.name, is_timeout=True)
