"""What an HTTP response says about the remote. For requests and httpx alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, Final

from . import threads
from .breaker import asucceed
from .gate import Ticket
from .redaction import redact_url

#: The statuses that carry a ``Retry-After`` (RFC 9110, 10.2.3, and RFC 6585, 4).
RETRY_STATUSES: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, judged.

    Args:
        status: Its HTTP status.
        url: What was called.
        failed: Whether it counts as a failure of the remote.
        retry_after: Seconds it asks callers to wait, where the circuit's policy heeds that.
    """

    status: int
    url: str
    failed: bool
    retry_after: float | None

    @property
    def error(self) -> str:
        """One line about it without secrets, for the row and the log."""
        return f"HTTP {self.status} from {redact_url(self.url)}"

    @property
    def is_good(self) -> bool:
        """Whether there is nothing in it against the remote."""
        return not self.failed and self.retry_after is None

    def settle(self, ticket: Ticket) -> None:
        """Report it to the circuit."""
        if self.is_good:
            ticket.succeed()
        else:
            ticket.fail(self.error, self.retry_after)

    async def asettle(self, ticket: Ticket) -> None:
        """Report it to the circuit without blocking the event loop."""
        if self.is_good:
            await asucceed(ticket)
        else:
            await threads.in_thread(ticket.fail, self.error, self.retry_after)


def judge(
    ticket: Ticket, response: Any, url: str, is_failure: Callable[[Any], bool] | None = None
) -> Answer:
    """Return what a response of requests or httpx says about the remote.

    Args:
        url: What was called.
        is_failure: Decides in place of the circuit's failure statuses.
    """
    status: int = response.status_code
    decided = None if is_failure is None else is_failure(response)
    failed = status in ticket.gate.failure_statuses if decided is None else decided
    retry_after = None
    if status in RETRY_STATUSES and ticket.gate.heeds_retry_after:
        retry_after = seconds_to_wait(response.headers)
    return Answer(status, url, failed, retry_after)


def seconds_to_wait(headers: Any) -> float | None:
    """Return what ``Retry-After`` asks for, in seconds or as a date; None if it says nothing.

    A date is compared with the remote's own ``Date``, so that no clock of ours can be wrong.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        seconds = float(value)
    else:
        until = _timestamp(value)
        if until is None:
            return None
        sent = _timestamp(headers.get("Date", ""))
        seconds = until - (time.time() if sent is None else sent)
    return max(0.0, seconds) if isfinite(seconds) else None


def _timestamp(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None
