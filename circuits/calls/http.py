"""Makes an HTTP request through a circuit: with requests in sync code, with httpx in async code."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

import requests
import urllib3
from requests.exceptions import InvalidHeader

from ..exceptions import InjectedFailureError, RemoteCallFailedException
from ..process.entry import abegin, begin_own
from ..validation import check_url
from . import hooks, sessions
from .answers import ajudge, judge
from .bodies import settle_with_body
from .callables import check_fallback
from .failures import Failures
from .injected import of_httpx, of_requests, to_read
from .settle import asettle_error, failed, settle_error

if TYPE_CHECKING:
    import httpx

    AsyncTimeout = float | tuple[float | None, ...] | httpx.Timeout | None

Timeout = float | tuple[float | None, float | None] | None


def _has_bad_header(error: Exception) -> bool:
    """Return whether an answer has a header that cannot be read.

    requests raises the same exception for a header of the caller that cannot be sent.
    """
    of_answer = isinstance(error, InvalidHeader) and error.args
    return bool(of_answer) and isinstance(error.args[0], urllib3.exceptions.InvalidHeader)


#: The exceptions of requests that say the remote failed. :mod:`circuits.calls.libraries` knows
#: those among them that are the caller's own fault.
FAILURES: Final = Failures(
    (
        requests.ConnectionError,
        requests.HTTPError,
        requests.Timeout,
        requests.TooManyRedirects,
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
        requests.exceptions.RetryError,
        _has_bad_header,
    )
)


def call(
    name: str,
    url: str,
    *,
    method: str = "GET",
    timeout: Timeout = None,
    fallback: Callable[[RemoteCallFailedException], Any] | None = None,
    is_failure: Callable[[requests.Response], bool] | None = None,
    **requests_kwargs: Any,
) -> Any:
    """Make an HTTP request through a circuit::

        response = circuits.call("payments", url, method="POST", json={"amount": 5})

    Args:
        name: The circuit's name.
        url: An http or https URL.
        method: The HTTP method.
        timeout: Seconds to connect and to wait for each part of the answer, or a pair of both. By
            default it is the circuit's own timeout, so no call waits for ever.
        fallback: A function that receives the exception of a failed or refused call, and returns
            the result of the call instead. The failure still counts.
        is_failure: A function that receives the response and returns whether it is a failure, in
            place of the circuit's failure statuses.
        **requests_kwargs: Anything else that ``requests.request`` takes. With ``stream=True`` the
            call ends when the answer's body does: a body that breaks counts as a failure, and
            reading it raises what requests raises.

    Returns:
        The ``requests.Response``, or what the fallback returned.

    Raises:
        CircuitOpenError: The circuit refuses calls; no request was sent.
        RemoteCallFailedException: A connection error, a timeout or a failure status. Its cause is
            the exception of requests; its ``response`` is the answer, if there was one.
        InvalidInputError: The name or the URL cannot be used, or ``is_failure`` returned None.
        TypeError: The fallback is async.
    """
    url = check_url(url).strip()
    check_fallback(fallback, "circuits.call")
    try:
        return call_by(
            sessions.of_thread, name, url, method, timeout, is_failure, **requests_kwargs
        )
    except RemoteCallFailedException as error:
        if fallback is None:
            raise
        return fallback(error)


def call_by(
    session: Callable[[], requests.Session],
    name: str,
    url: str,
    method: str = "GET",
    timeout: Timeout = None,
    is_failure: Callable[[requests.Response], bool] | None = None,
    **requests_kwargs: Any,
) -> requests.Response:
    """Make an HTTP request through a circuit, as :func:`call` does, with a session of your own.

    Args:
        session: A function that returns the session. It is called once the circuit has let the
            call through.
        url: A URL that :func:`~circuits.validation.check_url` accepts, without space around it.
    """
    try:
        ticket = begin_own(name, to_read(timeout, None))
    except InjectedFailureError as injected:
        cause: Exception = of_requests(injected)
        raise failed(name, cause) from cause
    try:
        seconds = _ended(timeout, ticket.gate.view.timeout)
        response, by_hook = hooks.send(session(), method, url, timeout=seconds, **requests_kwargs)
        answer = judge(ticket, response, url, is_failure)
    except BaseException as error:
        if settle_error(ticket, error, FAILURES):
            raise failed(name, error) from error
        raise
    settle_with_body(ticket, answer, response)
    if answer.failed:
        cause = by_hook or requests.HTTPError(answer.error, response=response)
        raise failed(name, cause, answer.error, response) from cause
    if by_hook is not None:
        raise by_hook
    return response


def _ended(timeout: Timeout, default: float) -> Timeout:
    """Return the timeout, with the circuit's own in place of each part that has none."""
    if isinstance(timeout, tuple):
        connect, read = (default if part is None else part for part in timeout)
        return connect, read
    return default if timeout is None else timeout


async def acall(
    name: str,
    url: str,
    *,
    method: str = "GET",
    timeout: float | tuple[float | None, ...] | httpx.Timeout | None = None,  # noqa: ASYNC109 - httpx's own, which covers each part
    fallback: Callable[[RemoteCallFailedException], Any] | None = None,
    is_failure: Callable[[httpx.Response], bool | Awaitable[bool]] | None = None,
    **httpx_kwargs: Any,
) -> Any:
    """Make an HTTP request through a circuit from async code, with httpx (the extra ``async``)::

        response = await circuits.acall("payments", url, method="POST", json={"amount": 5})

    Args:
        name: The circuit's name.
        url: An http or https URL.
        method: The HTTP method.
        timeout: Seconds for each part of the exchange, a pair of seconds to connect and to read, or
            an ``httpx.Timeout``. Parts without a timeout get the circuit's own.
        fallback: As in :func:`call`; it may be a coroutine function.
        is_failure: As in :func:`call`; it may be a coroutine function.
        **httpx_kwargs: Anything else that ``httpx.AsyncClient.request`` takes. For options of a
            client, such as ``verify``, make a client of your own with an
            :class:`~circuits.AsyncCircuitTransport`.

    Returns:
        The ``httpx.Response``, or what the fallback returned.

    Raises:
        CircuitOpenError: The circuit refuses calls; no request was sent.
        RemoteCallFailedException: A connection error, a timeout or a failure status. Its cause is
            the exception of httpx; its ``response`` is the answer, if there was one.
        InvalidInputError: The name or the URL cannot be used.
        TypeError: A keyword is not one that httpx takes for a single request.
    """
    url = check_url(url).strip()
    _check_keywords(httpx_kwargs)
    try:
        return await _acall(name, url, method, timeout, is_failure, httpx_kwargs)
    except RemoteCallFailedException as error:
        if fallback is None:
            raise
        value = fallback(error)
        return await value if inspect.isawaitable(value) else value


async def _acall(
    name: str,
    url: str,
    method: str,
    timeout: AsyncTimeout,  # noqa: ASYNC109
    is_failure: Callable[[httpx.Response], bool | Awaitable[bool]] | None,
    httpx_kwargs: dict[str, Any],
) -> httpx.Response:
    import httpx

    from . import clients, transports

    try:
        ticket = await abegin(name, _ato_read(timeout))
    except InjectedFailureError as injected:
        cause: Exception = of_httpx(injected, httpx.Request(method, url))
        raise failed(name, cause) from cause
    try:
        client = await clients.of_loop()
        seconds = _aended(timeout, ticket.gate.view.timeout)
        response = await client.request(method, url, timeout=seconds, **httpx_kwargs)
        answer = await ajudge(ticket, response, url, is_failure)
    except BaseException as error:
        if await asettle_error(ticket, error, transports.FAILURES):
            raise failed(name, error) from error
        raise
    await answer.asettle(ticket)
    if answer.failed:
        request = response.request
        cause = httpx.HTTPStatusError(answer.error, request=request, response=response)
        raise failed(name, cause, answer.error) from cause
    return response


def _aended(timeout: AsyncTimeout, default: float) -> httpx.Timeout:
    """Return the timeout with the circuit's own in place of each part that has none."""
    import httpx

    if timeout is None:
        return httpx.Timeout(default)
    parts = httpx.Timeout(cast(Any, timeout)).as_dict()
    return httpx.Timeout(
        **{name: default if seconds is None else seconds for name, seconds in parts.items()}
    )


def _ato_read(timeout: AsyncTimeout) -> float | None:
    """Return for how many seconds a call waits for its answer; None for the circuit's timeout."""
    import httpx

    return None if timeout is None else httpx.Timeout(cast(Any, timeout)).read


@cache
def _known_keywords() -> frozenset[str]:
    """Return what httpx takes for a single request. To look it up takes as long as a query."""
    import httpx

    return frozenset(inspect.signature(httpx.AsyncClient.request).parameters) - {"self"}


def _check_keywords(given: Mapping[str, Any]) -> None:
    known = _known_keywords()
    unknown = sorted(given.keys() - known)
    if unknown:
        raise TypeError(
            f"acall takes no {', '.join(unknown)}: it takes what httpx takes for one request "
            f"({', '.join(sorted(known))}). Set what belongs to a client on an httpx.AsyncClient "
            "of your own, and give that a circuits.AsyncCircuitTransport."
        )
