"""The outcome of a call whose answer began well is known when the answer's body ends.

A body that breaks is a failure; one that is read to its end, closed early or dropped is an answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any, Final, TypeVar

import requests
import urllib3
from urllib3 import exceptions

from . import leftovers
from .answers import Answer
from .breaker import asettle_error, asucceed, settle_error
from .gate import Ticket
from .outcomes import Failures

T = TypeVar("T")

#: The exceptions of a body under requests that say the remote failed: it cut the connection, went
#: silent, or sent what cannot be decoded.
FAILURES: Final = Failures(
    (
        exceptions.ProtocolError,
        exceptions.TimeoutError,
        exceptions.DecodeError,
        exceptions.SSLError,
        OSError,
    )
)


class Pending:
    """An outcome that is settled once, when a body ends, however it ends.

    A block ``with pending:`` or ``async with pending:`` is one read of the body: an exception that
    leaves it settles the outcome.

    Args:
        body: What is garbage once nobody can read any more; the outcome is then settled as an
            answer.
        ticket: Leave for the call.
        failures: The exceptions that count as failures of the remote; any other gives the
            ticket back.
    """

    __slots__ = ("_failures", "_finalizer", "_paused_at", "_ticket")

    def __init__(self, body: object, ticket: Ticket, failures: Failures) -> None:
        self._ticket = ticket
        self._failures = failures
        self._paused_at = monotonic()
        self._finalizer = leftovers.when_dropped(body, self._succeed)

    def __enter__(self) -> None:
        self._skip_pause()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._paused_at = monotonic()
        if error is not None:
            self.fail(error)

    async def __aenter__(self) -> None:
        self._skip_pause()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._paused_at = monotonic()
        if error is not None:
            await self.afail(error)

    def succeed(self) -> None:
        """Settle it as an answer, unless it is settled."""
        if self._take():
            self._succeed()

    async def asucceed(self) -> None:
        """Settle it as an answer, unless it is settled, without blocking the event loop."""
        if self._take():
            self._skip_pause()
            await asucceed(self._ticket)

    def fail(self, error: BaseException) -> None:
        """Settle it by the exception that a read ended with, unless it is settled."""
        if self._take():
            settle_error(self._ticket, error, self._failures)

    async def afail(self, error: BaseException) -> None:
        """Settle it as :meth:`fail` does, without blocking the event loop."""
        if self._take():
            await asettle_error(self._ticket, error, self._failures)

    def iterate(self, parts: Iterator[T]) -> Iterator[T]:
        """Yield the parts of the body; when there are no more, it has ended well."""
        while True:
            with self:
                try:
                    part = next(parts)
                except StopIteration:
                    break
            yield part
        self.succeed()

    async def aiterate(self, parts: AsyncIterator[T]) -> AsyncIterator[T]:
        """Yield the parts of the body as :meth:`iterate` does."""
        while True:
            async with self:
                try:
                    part = await anext(parts)
                except StopAsyncIteration:
                    break
            yield part
        await self.asucceed()

    def _take(self) -> bool:
        """Whether the caller is the one to settle it; no other will be."""
        return self._finalizer.detach() is not None

    def _succeed(self) -> None:
        self._skip_pause()
        self._ticket.succeed()

    def _skip_pause(self) -> None:
        """Leave out of the call's duration what its caller did since the last read."""
        if self._ticket.started_at:  # else it is one ticket for many calls, and not timed
            self._ticket.started_at += monotonic() - self._paused_at


# Under requests --------------------------------------------------------------------------------

_READING: Final = frozenset(
    {"close", "drain_conn", "json", "read", "read1", "readinto", "readline", "readlines"}
)
_ITERATING: Final = frozenset({"read_chunked", "stream"})


class WatchedRaw:
    """The ``raw`` of a response, which settles the outcome and is in all else the one it wraps.

    Args:
        raw: urllib3's response.
        pending: The outcome.
    """

    __slots__ = ("_pending", "_raw")

    _pending: Pending
    _raw: urllib3.HTTPResponse

    def __init__(self, raw: urllib3.HTTPResponse, pending: Pending) -> None:
        object.__setattr__(self, "_raw", raw)
        object.__setattr__(self, "_pending", pending)

    def __getattr__(self, name: str) -> Any:
        if name == "data":  # a property that reads
            return self._read(getattr, self._raw, name)
        value = getattr(self._raw, name)
        if name in _READING:
            return partial(self._read, value)
        return partial(self._iterate, value) if name in _ITERATING else value

    def __setattr__(self, name: str, value: object) -> None:
        # Such as decode_content, which is for urllib3 to see.
        setattr(self._raw, name, value)

    def __iter__(self) -> Iterator[bytes]:
        return self._pending.iterate(iter(self._raw))

    def __enter__(self) -> WatchedRaw:
        return self

    def __exit__(self, *exception: object) -> None:
        self._read(self._raw.close)

    def _read(self, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        with self._pending:
            value = method(*args, **kwargs)
        if self._raw.closed:  # urllib3 closes at the last byte
            self._pending.succeed()
        return value

    def _iterate(
        self, method: Callable[..., Iterator[T]], *args: Any, **kwargs: Any
    ) -> Iterator[T]:
        return self._pending.iterate(method(*args, **kwargs))


def settle_with_body(ticket: Ticket, answer: Answer, response: requests.Response) -> None:
    """Report an answer to the circuit: at once or, if a good one's body is to come, at its end."""
    raw = response.raw
    if answer.is_good and isinstance(raw, urllib3.HTTPResponse) and _is_to_come(raw):
        response.raw = WatchedRaw(raw, Pending(raw, ticket, FAILURES))
    else:
        answer.settle(ticket)


def _is_to_come(raw: urllib3.HTTPResponse) -> bool:
    return not raw.closed and raw.length_remaining != 0
