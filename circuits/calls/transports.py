"""Transports that send the requests of httpx clients through circuits (the extra ``async``)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, closing
from math import inf
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

import httpx

from ..exceptions import (
    CircuitBusyError,
    CircuitOpenError,
    InjectedFailureError,
    InvalidInputError,
)
from ..process.entry import abegin, begin_own
from ..process.gate import Ticket
from .answers import ajudge, judge
from .bodies import Pending
from .failures import Failures
from .injected import of_httpx
from .naming import Name, check_naming, name_of
from .refusals import also
from .settle import asettle_error, settle_error
from .uploads import mark

T = TypeVar("T")

#: The exceptions of httpx that say the remote failed. :mod:`circuits.calls.libraries` knows those
#: among them that are the caller's own fault.
FAILURES: Final = Failures(
    (httpx.TransportError, httpx.DecodingError, httpx.TooManyRedirects, httpx.HTTPStatusError)
)

_PENDING: Final = "circuits.pending"

IsFailure = Callable[[httpx.Response], bool]
AsyncIsFailure = Callable[[httpx.Response], bool | Awaitable[bool]]


class CircuitOpenConnectError(CircuitOpenError, httpx.ConnectError):
    """A refusal that is a connection error for code written for httpx.

    Args:
        name: The circuit's name.
        retry_after: Seconds until a call may be let through again.
        request: The request that was not sent.
    """

    __module__ = "circuits"  # where it is found without this module, see there

    def __init__(
        self,
        name: str,
        retry_after: float,
        request: httpx.Request | None = None,
        is_alone: bool = False,
    ) -> None:
        super().__init__(name, retry_after, is_alone)
        self._request = request


class CircuitBusyConnectError(CircuitBusyError, CircuitOpenConnectError):
    """A refusal because of ``max_concurrent``, as a connection error of httpx."""

    __module__ = "circuits"


class CircuitTransport(httpx.BaseTransport):
    """Sends the requests of an ``httpx.Client`` through circuits::

        client = httpx.Client(transport=CircuitTransport(name="payments"))

    Responses and exceptions reach the client untouched. A failure status, a connection error, a
    timeout and a body that breaks count as failures; the retries of the inner transport are one
    call; each redirect is a call of its own. A refusal is a :class:`CircuitOpenError` and an
    ``httpx.ConnectError`` in one.

    Args:
        transport: The transport that sends the requests; ``httpx.HTTPTransport()`` by default.
        name: The circuit's name, a template with ``{host}``, ``{port}`` or ``{scheme}``, or a
            callable that receives the ``httpx.Request`` and returns a name.
        is_failure: Returns whether a response is a failure, in place of the circuit's statuses. It
            may read the body.

    Raises:
        InvalidInputError: The name cannot be a circuit's.
    """

    def __init__(
        self,
        transport: httpx.BaseTransport | None = None,
        name: Name = "{host}",
        is_failure: IsFailure | None = None,
    ) -> None:
        self._name = check_naming(name)
        self._inner = httpx.HTTPTransport() if transport is None else _checked(transport)
        self._is_failure = is_failure

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request through its circuit.

        Raises:
            CircuitOpenConnectError: The circuit refuses calls; no request was sent.
        """
        url = str(request.url)
        name = name_of(self._name, request, url)
        if name is None:
            return self._inner.handle_request(request)
        try:
            ticket = begin_own(name, _to_read(request))
        except CircuitOpenError as refusal:
            raise _as_connect_error(refusal, request) from None
        except InjectedFailureError as injected:
            raise of_httpx(injected, request) from injected
        response = None
        try:
            watch_upload(request)
            response = self._inner.handle_request(request)
            response.request = request
            try:
                answer = judge(ticket, response, url, self._is_failure)
            except httpx.ResponseNotRead:
                response = _in_memory(response, _all_of(response))
                answer = judge(ticket, _read(response), url, self._is_failure)
        except BaseException as error:
            settle_error(ticket, error, FAILURES)
            if response is not None:
                response.close()
            raise
        if answer.is_good and not response.is_closed:
            return _watched(response, ticket, _Body)
        answer.settle(ticket)
        return response

    def close(self) -> None:
        """Close the inner transport."""
        self._inner.close()

    def __enter__(self) -> Self:
        """Enter the inner transport, as a client does when it is entered."""
        self._inner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Exit the inner transport, which closes it."""
        self._inner.__exit__(kind, error, traceback)


class AsyncCircuitTransport(httpx.AsyncBaseTransport):
    """Sends the requests of an ``httpx.AsyncClient`` through circuits, as
    :class:`CircuitTransport` does for a ``Client``; ``httpx.AsyncHTTPTransport()`` sends them by
    default. ``is_failure`` may be a coroutine function. The event loop is never blocked by the
    circuits' database.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport | None = None,
        name: Name = "{host}",
        is_failure: AsyncIsFailure | None = None,
    ) -> None:
        self._name = check_naming(name)
        self._inner = httpx.AsyncHTTPTransport() if transport is None else _checked(transport)
        self._is_failure = is_failure

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request through its circuit.

        Raises:
            CircuitOpenConnectError: The circuit refuses calls; no request was sent.
        """
        url = str(request.url)
        name = name_of(self._name, request, url)
        if name is None:
            return await self._inner.handle_async_request(request)
        try:
            ticket = await abegin(name, _to_read(request))
        except CircuitOpenError as refusal:
            raise _as_connect_error(refusal, request) from None
        except InjectedFailureError as injected:
            raise of_httpx(injected, request) from injected
        response = None
        try:
            watch_upload(request)
            response = await self._inner.handle_async_request(request)
            response.request = request
            try:
                answer = await ajudge(ticket, response, url, self._is_failure)
            except httpx.ResponseNotRead:
                response = _in_memory(response, await _aall_of(response))
                answer = await ajudge(ticket, _read(response), url, self._is_failure)
        except BaseException as error:
            try:
                await asettle_error(ticket, error, FAILURES)
            finally:  # in a task that is cancelled for good, as in trio, nothing can be awaited
                if response is not None:
                    await response.aclose()
            raise
        if answer.is_good and not response.is_closed:
            return _watched(response, ticket, _AsyncBody)
        await answer.asettle(ticket)
        return response

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        """Enter the inner transport, as a client does when it is entered."""
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Exit the inner transport, which closes it."""
        await self._inner.__aexit__(kind, error, traceback)


def _as_connect_error(refusal: CircuitOpenError, request: httpx.Request) -> CircuitOpenConnectError:
    is_busy = isinstance(refusal, CircuitBusyError)
    kind = CircuitBusyConnectError if is_busy else CircuitOpenConnectError
    return also(kind, refusal)(refusal.name, refusal.retry_after, request, refusal.is_alone)


def _to_read(request: httpx.Request) -> float:
    """Return for how many seconds the client waits for an answer."""
    seconds = request.extensions.get("timeout", {}).get("read")
    return inf if seconds is None else float(seconds)


def _checked(transport: T) -> T:
    """Return the inner transport; refuse a string, which was meant as the circuit's name."""
    if isinstance(transport, str):
        raise InvalidInputError(
            f"{transport!r} is no transport of httpx, which comes first; write name={transport!r} "
            "for the circuit's name."
        )
    return transport


# Uploads ---------------------------------------------------------------------------------------


class _Upload(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that is read while it is sent, whose own errors are marked as the caller's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except Exception as error:
            mark(error)
            raise

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._stream:
                yield part
        except Exception as error:
            mark(error)
            raise

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


def watch_upload(request: httpx.Request) -> None:
    """Make errors in reading a request's body marked, unless the body is in memory already."""
    if not isinstance(request.stream, (httpx.ByteStream, _Upload)):
        request.stream = _Upload(request.stream)


# Bodies for is_failure ---------------------------------------------------------------------------


def _all_of(response: httpx.Response) -> bytes:
    """Return the body of a response as it came over the network, and close the response."""
    with closing(response):
        return b"".join(cast("httpx.SyncByteStream", response.stream))


async def _aall_of(response: httpx.Response) -> bytes:
    async with aclosing(response):
        return b"".join([part async for part in cast("httpx.AsyncByteStream", response.stream)])


def _in_memory(response: httpx.Response, body: bytes) -> httpx.Response:
    """Return a response whose body is in memory, but which the client can read as any other."""
    return _like(response, httpx.ByteStream(body))


def _read(response: httpx.Response) -> httpx.Response:
    """Return a copy of a response in memory that has been read."""
    copy = _like(response, response.stream)
    copy.read()
    return copy


def _like(response: httpx.Response, stream: Any) -> httpx.Response:
    return httpx.Response(
        response.status_code,
        headers=response.headers,
        stream=stream,
        request=response.request,
        extensions=response.extensions,
    )


# Bodies ----------------------------------------------------------------------------------------


class _Body(httpx.SyncByteStream):
    """The bytes of a body as they come over the network."""

    def __init__(self, stream: httpx.SyncByteStream, pending: Pending) -> None:
        self._stream = stream
        self._pending = pending

    def __iter__(self) -> Iterator[bytes]:
        return self._pending.iterate(iter(self._stream))

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._pending.succeed()


class _AsyncBody(httpx.AsyncByteStream):
    """The bytes of a body as they come over the network, for async code."""

    def __init__(self, stream: httpx.AsyncByteStream, pending: Pending) -> None:
        self._stream = stream
        self._pending = pending

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pending.aiterate(aiter(self._stream))

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            await self._pending.asucceed()


class _Response(httpx.Response):
    """A response that reports bytes it cannot decode, which its stream never learns of."""

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        try:
            yield from super().iter_bytes(chunk_size)
        except httpx.DecodingError as error:
            self._pending.fail(error)
            raise

    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        try:
            async for part in super().aiter_bytes(chunk_size):
                yield part
        except httpx.DecodingError as error:
            await self._pending.afail(error)
            raise

    @property
    def _pending(self) -> Pending:
        return cast(Pending, self.extensions[_PENDING])


def _watched(
    response: httpx.Response, ticket: Ticket, body: type[_Body] | type[_AsyncBody]
) -> httpx.Response:
    """Return a copy of the response that settles the outcome when its body ends."""
    stream: Any = response.stream
    pending = Pending(stream, ticket, FAILURES)
    return _Response(
        response.status_code,
        headers=response.headers,
        stream=body(stream, pending),
        request=response.request,
        # Kept in the extensions, since those are left out when a response is pickled.
        extensions={**response.extensions, _PENDING: pending},
    )
