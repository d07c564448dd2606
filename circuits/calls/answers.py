"""Judges whether a response of requests or httpx is a failure of the remote."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from inspect import isawaitable
from math import inf
from typing import Any, Final

from ..exceptions import InvalidInputError
from ..process import results, threads
from ..process.entry import asucceed
from ..process.gate import Gate, Ticket
from ..redaction import redact_url
from .failures import is_true

#: Seconds in ``Retry-After``. The RFC allows whole ones only, but some remotes send fractions.
_SECONDS: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)

#: The statuses that carry a ``Retry-After`` (RFC 9110, 10.2.3, and RFC 6585, 4).
RETRY_STATUSES: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a response says about the remote.

    Args:
        status: The response's HTTP status.
        url: The URL that was called.
        failed: Whether the response counts as a failure of the remote.
        retry_after: Seconds that the response asks callers to wait, if the circuit's policy
            respects that; None if it does not ask.
    """

    status: int
    url: str
    failed: bool
    retry_after: float | None

    @property
    def error(self) -> str:
        """One line for the row and the log, without secrets."""
        return f"HTTP {self.status} from {redact_url(self.url)}"

    @property
    def is_good(self) -> bool:
        """Whether the response says that the remote is well."""
        return not self.failed and self.retry_after is None

    def settle(self, ticket: Ticket) -> None:
        """Report the response to the circuit."""
        if self.is_good:
            results.succeed(ticket)
        else:
            results.fail(ticket, self.error, self.retry_after)

    async def asettle(self, ticket: Ticket) -> None:
        """Report the response to the circuit without blocking the event loop."""
        if self.is_good:
            await asucceed(ticket)
        else:
            await threads.in_thread(results.fail, ticket, self.error, self.retry_after)


def judge(
    ticket: Ticket, response: Any, url: str, is_failure: Callable[[Any], Any] | None = None
) -> Answer:
    """Return what a response of requests or httpx says about the remote.

    Args:
        url: The URL that was called.
        is_failure: A function that receives the response and returns whether it is a failure, in
            place of the circuit's failure statuses.

    Raises:
        InvalidInputError: ``is_failure`` is a coroutine function, or returned None.
    """
    if is_failure is None:
        return _answer(ticket, response, url, None)
    decided = is_failure(response)
    if isawaitable(decided):
        _close(decided)
        raise InvalidInputError(
            "is_failure must return true or false, not an awaitable; only acall and "
            "AsyncCircuitTransport take an async one."
        )
    return _answer(ticket, response, url, is_true(decided, "is_failure"))


async def ajudge(
    ticket: Ticket, response: Any, url: str, is_failure: Callable[[Any], Any] | None = None
) -> Answer:
    """Return what :func:`judge` does, awaiting ``is_failure`` if it is async."""
    if is_failure is None:
        return _answer(ticket, response, url, None)
    decided = is_failure(response)
    if isawaitable(decided):
        decided = await decided
    return _answer(ticket, response, url, is_true(decided, "is_failure"))


def _answer(ticket: Ticket, response: Any, url: str, decided: bool | None) -> Answer:
    status: int = response.status_code
    failed = status in ticket.gate.view.failure_statuses if decided is None else decided
    return Answer(status, url, failed, asked_for(ticket.gate, status, response.headers))


def asked_for(gate: Gate, status: int | None, headers: Any) -> float | None:
    """Return the seconds that an answer asks callers to wait.

    Return None if it does not ask, or if the circuit's policy does not respect that.
    """
    if status not in RETRY_STATUSES or not gate.view.heeds_retry_after:
        return None
    return seconds_to_wait(headers, gate.clock)


def _close(awaitable: object) -> None:
    """Close a coroutine that nobody awaits, so that Python does not warn about it as well."""
    if isinstance(awaitable, Coroutine):
        awaitable.close()


def seconds_to_wait(headers: Any, clock: Callable[[], float]) -> float | None:
    """Return the seconds that ``Retry-After`` asks for; None if the header is missing or invalid.

    The header holds seconds or a date. A date is compared with the remote's own ``Date``, so that
    it does not matter if a clock of ours is wrong.

    >>> seconds_to_wait({"Retry-After": "120"}, time)
    120.0
    >>> date = "Wed, 21 Oct 2026 07:28:00 GMT"
    >>> seconds_to_wait({"Retry-After": "Wed Oct 21 07:29:30 2026", "Date": date}, time)
    90.0

    Args:
        clock: Returns the time in seconds since 1970. It is used if the remote sends no ``Date``.
    """
    value = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(value):
        seconds = float(value)
    else:
        until = _timestamp(value)
        if until is None:
            return None
        sent = _timestamp(headers.get("Date", ""))
        seconds = until - (clock() if sent is None else sent)
    return seconds if 0 < seconds < inf else None


def _timestamp(date: str) -> float | None:
    """Parse a date in any form of HTTP (RFC 9110, 5.6.7), which is always in GMT."""
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None
