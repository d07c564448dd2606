"""A circuit under httpx (the extra ``async``): a transport for a client, sync or async."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, cast

import httpx

from .answers import judge
from .bodies import Pending
from .breaker import aadmit, admit, asettle_error, settle_error
from .exceptions import CircuitBusyError, CircuitOpenError
from .naming import Name, check_naming, name_of
from .outcomes import Failures

#: The exceptions of httpx that say the remote failed, and those that are the caller's mistakes.
FAILURES: Final = Failures(
    (httpx.TransportError, httpx.DecodingError),
    (httpx.LocalProtocolError, httpx.UnsupportedProtocol),
)

_PENDING: Final = "circuits.pending"

IsFailure = Callable[[httpx.Response], bool]


class CircuitOpenConnectError(CircuitOpenError, httpx.ConnectError):
    """A refusal that code written for httpx takes for what it is to it: no connection.

    Args:
        name: The circuit's name.
        retry_after: Seconds until a call may be let through again.
        request: The request that was not sent.
    """

    def __init__(self, name: str, retry_after: float, request: httpx.Request | None = None) -> None:
        super().__init__(name, retry_after)
        self._request = request


class CircuitBusyConnectError(CircuitBusyError, CircuitOpenConnectError):
    """A refusal because of ``max_concurrent``, as a connection error of httpx."""


class CircuitTransport(httpx.BaseTransport):
    """Sends the requests of an ``httpx.Client`` through circuits.

    Responses and exceptions reach the client untouched. A failure status, a connection error, a
    timeout and a body that breaks count as failures; the retries of the inner transport are one
    call; each redirect is a call of its own. A refusal is a :class:`CircuitOpenError` and an
    ``httpx.ConnectError`` in one.

    Args:
        transport: What sends the requests; ``httpx.HTTPTransport()`` by default.
        name: The circuit's name, a template with ``{host}``, ``{port}`` or ``{scheme}``, or a
            callable that receives the ``httpx.Request`` and returns a name.
        is_failure: Says whether a response is a failure, in place of the circuit's statuses.

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
        self._inner = httpx.HTTPTransport() if transport is None else transport
        self._is_failure = is_failure

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request through its circuit.

        Raises:
            CircuitOpenConnectError: The circuit refuses calls; no request was sent.
        """
        url = str(request.url)
        try:
            ticket = admit(name_of(self._name, request, url))
        except CircuitOpenError as refusal:
            raise _as_connect_error(refusal, request) from None
        response = None
        try:
            response = self._inner.handle_request(request)
            response.request = request
            answer = judge(ticket, response, url, self._is_failure)
        except BaseException as error:
            settle_error(ticket, error, FAILURES)
            if response is not None:
                response.close()
            raise
        if answer.is_good and not response.is_closed:
            return _watched(response, Pending(response.stream, ticket, FAILURES))
        answer.settle(ticket)
        return response

    def close(self) -> None:
        """Close the inner transport."""
        self._inner.close()


class AsyncCircuitTransport(httpx.AsyncBaseTransport):
    """Sends the requests of an ``httpx.AsyncClient`` through circuits, as
    :class:`CircuitTransport` does for a ``Client``; ``httpx.AsyncHTTPTransport()`` sends them by
    default. The event loop is never blocked by the circuits' database.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport | None = None,
        name: Name = "{host}",
        is_failure: IsFailure | None = None,
    ) -> None:
        self._name = check_naming(name)
        self._inner = httpx.AsyncHTTPTransport() if transport is None else transport
        self._is_failure = is_failure

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request through its circuit.

        Raises:
            CircuitOpenConnectError: The circuit refuses calls; no request was sent.
        """
        url = str(request.url)
        try:
            ticket = await aadmit(name_of(self._name, request, url))
        except CircuitOpenError as refusal:
            raise _as_connect_error(refusal, request) from None
        response = None
        try:
            response = await self._inner.handle_async_request(request)
            response.request = request
            answer = judge(ticket, response, url, self._is_failure)
        except BaseException as error:
            await asettle_error(ticket, error, FAILURES)
            if response is not None:
                await response.aclose()
            raise
        if answer.is_good and not response.is_closed:
            return _watched(response, Pending(response.stream, ticket, FAILURES))
        await answer.asettle(ticket)
        return response

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()


def _as_connect_error(refusal: CircuitOpenError, request: httpx.Request) -> CircuitOpenConnectError:
    is_busy = isinstance(refusal, CircuitBusyError)
    kind = CircuitBusyConnectError if is_busy else CircuitOpenConnectError
    return kind(refusal.name, refusal.retry_after, request)


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
    """A response that tells of bytes that cannot be decoded, which its stream never learns."""

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


def _watched(response: httpx.Response, pending: Pending) -> httpx.Response:
    """Return the response as one that settles the outcome when its body ends."""
    stream = response.stream
    return _Response(
        response.status_code,
        headers=response.headers,
        stream=_Body(stream, pending)
        if isinstance(stream, httpx.SyncByteStream)
        else _AsyncBody(stream, pending),
        request=response.request,
        # Of all that a response has, a pickle of it leaves the extensions behind.
        extensions={**response.extensions, _PENDING: pending},
    )
