"""Settles the outcome of a call when the body of its answer ends.

A body that breaks is a failure; one that is read to its end, closed early or dropped is an answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Final, TypeVar

import requests
import urllib3
from urllib3 import exceptions

from ..process import results
from ..process.entry import asucceed
from ..process.gate import Ticket
from . import abandoned
from .answers import Answer
from .failures import Failures
from .settle import asettle_error, settle_error

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
    """Settle the outcome of a call once, when the body of its answer ends::

        with pending:  # or async with
            part = body.read()

    Each such block is one read of the body. An exception that leaves it settles the outcome.

    Args:
        body: An object that becomes garbage once nobody can read the body any more. The outcome is
            then settled as an answer.
        ticket: The ticket of the call.
        failures: The exceptions that count as failures of the remote. Any other exception gives the
            ticket back.
    """

    __slots__ = ("_failures", "_finalizer", "_ticket")

    def __init__(self, body: object, ticket: Ticket, failures: Failures) -> None:
        self._ticket = ticket
        ticket.has_left = True  # other calls made before the body is read are not inside this one
        self._failures = failures
        ticket.pause()
        self._finalizer = abandoned.when_dropped(body, self._succeed)

    def __enter__(self) -> None:
        self._ticket.go_on()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ticket.pause()
        if error is not None:
            self.fail(error)

    async def __aenter__(self) -> None:
        self._ticket.go_on()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ticket.pause()
        if error is not None:
            await self.afail(error)

    def succeed(self) -> None:
        """Settle the outcome as an answer, unless it is settled already."""
        if self._take():
            self._succeed()

    async def asucceed(self) -> None:
        """Settle the outcome as :meth:`succeed` does, without blocking the event loop."""
        if self._take():
            self._ticket.go_on()
            await asucceed(self._ticket)

    def fail(self, error: BaseException) -> None:
        """Settle the outcome by the exception that a read raised, unless it is settled already."""
        if self._take():
            settle_error(self._ticket, error, self._failures)

    async def afail(self, error: BaseException) -> None:
        """Settle the outcome as :meth:`fail` does, without blocking the event loop."""
        if self._take():
            await asettle_error(self._ticket, error, self._failures)

    def iterate(self, parts: Iterator[T]) -> Iterator[T]:
        """Yield the parts of the body, and settle the outcome as an answer after the last one."""
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
        """Return whether the outcome is still open; if so, the caller has to settle it."""
        return self._finalizer.detach() is not None

    def _succeed(self) -> None:
        self._ticket.go_on()
        results.succeed(self._ticket)


# Under requests --------------------------------------------------------------------------------

_READING: Final = frozenset(
    {"close", "drain_conn", "json", "read", "read1", "readinto", "readline", "readlines"}
)
_ITERATING: Final = frozenset({"read_chunked", "stream"})


class WatchedRaw:
    """Replaces the ``raw`` of a response of requests, and settles the outcome when that ends.

    In all else it behaves like the response of urllib3 that it wraps.

    Args:
        raw: The response of urllib3.
        pending: The outcome to settle.
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
        # Attributes such as decode_content are meant for urllib3.
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
    """Report an answer to the circuit: a good one at the end of its body, any other at once."""
    raw = response.raw
    if answer.is_good and isinstance(raw, urllib3.HTTPResponse) and _is_to_come(raw):
        response.raw = WatchedRaw(raw, Pending(raw, ticket, FAILURES))
    else:
        answer.settle(ticket)


def _is_to_come(raw: urllib3.HTTPResponse) -> bool:
    return not raw.closed and raw.length_remaining != 0
