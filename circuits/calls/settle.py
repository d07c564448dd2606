"""Reports the exception that a call ended with to its circuit, sync and async."""

from __future__ import annotations

from typing import Any

from ..exceptions import InjectedFailureError, RemoteCallFailedException
from ..process import nesting, results, threads
from ..process.entry import asucceed
from ..process.gate import Ticket
from ..process.observers import CallOutcome
from ..redaction import describe
from . import answers
from .failures import Failures
from .libraries import headers_of, response_of, status_of


def settle_error(ticket: Ticket, error: BaseException, failures: Failures) -> bool:
    """Report the exception that a call ended with; return whether it counted as a failure."""
    try:
        outcome = failures.judge(error, ticket.gate.view.failure_statuses)
    except BaseException:  # a callable that names exceptions has raised one
        results.release(ticket)
        raise
    retry_after = _asked_for(ticket, error)
    if outcome is CallOutcome.SUCCESS and retry_after is None:
        results.succeed(ticket)
    elif outcome is CallOutcome.IGNORED or _was_counted(ticket, error):
        results.release(ticket)
    else:
        if ticket.is_plain:
            nesting.tell(ticket.gate, CallOutcome.FAILURE)
        results.fail(ticket, describe(error), retry_after)
    return outcome is CallOutcome.FAILURE


async def asettle_error(ticket: Ticket, error: BaseException, failures: Failures) -> bool:
    """Report an exception as :func:`settle_error` does, without blocking the event loop."""
    try:
        outcome = failures.judge(error, ticket.gate.view.failure_statuses)
    except BaseException:
        await _arelease(ticket)
        raise
    retry_after = _asked_for(ticket, error)
    if outcome is CallOutcome.SUCCESS and retry_after is None:
        await asucceed(ticket)
    elif outcome is CallOutcome.IGNORED or _was_counted(ticket, error):
        await _arelease(ticket)
    else:
        await threads.in_thread(results.fail, ticket, describe(error), retry_after)
    return outcome is CallOutcome.FAILURE


def _asked_for(ticket: Ticket, error: BaseException) -> float | None:
    """Return the seconds that the answer behind an exception asks callers to wait, if it does."""
    if not ticket.gate.view.heeds_retry_after:
        return None  # so that most exceptions are looked at once, when they are judged
    return answers.asked_for(ticket.gate, status_of(error), headers_of(error))


def _was_counted(ticket: Ticket, error: BaseException) -> bool:
    """Return whether a call inside this one, through the same circuit, has counted the failure.

    An exception that names this circuit was counted where it was raised, even in another thread,
    which is not inside this call.
    """
    named = RemoteCallFailedException, InjectedFailureError
    if isinstance(error, named) and error.name == ticket.gate.name:
        return True
    return ticket.is_plain and nesting.told(ticket.gate) is CallOutcome.FAILURE


async def _arelease(ticket: Ticket) -> None:
    if results.is_released_in_memory(ticket):
        results.release(ticket)
    else:
        await threads.in_thread(results.release, ticket)


def failed(
    name: str, error: BaseException, words: str = "", response: Any = None
) -> RemoteCallFailedException:
    """Return the exception to raise from that of a failed call.

    Args:
        words: The message, free of secrets; the exception's type and message by default.
        response: The answer that counted as a failure; the exception's own by default.
    """
    message = f"The call to {name} failed: {words or describe(error)}"
    own = response_of(error) if response is None else response
    return RemoteCallFailedException(message, name, own)
