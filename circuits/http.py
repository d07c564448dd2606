"""Calls over HTTP through a circuit: requests for sync code, httpx for async."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncGenerator, Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from threading import local
from typing import TYPE_CHECKING, Any, Final

import requests
from requests.cookies import RequestsCookieJar

from .answers import judge
from .bodies import settle_with_body
from .breaker import aadmit, admit, asettle_error, failed, settle_error
from .exceptions import RemoteCallFailedException
from .outcomes import Failures
from .validation import check_url

if TYPE_CHECKING:
    import httpx

Timeout = float | tuple[float | None, float | None] | None

#: The exceptions of requests that say the remote failed. Others, such as an invalid header, are
#: mistakes of the caller and count as nothing.
FAILURES: Final = Failures(
    (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
        requests.exceptions.RetryError,
    )
)

_local = local()


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
    """Make an HTTP request through a circuit.

    Args:
        name: The circuit's name.
        url: An http or https URL.
        method: The HTTP method.
        timeout: Seconds to connect and to wait for each part of the answer, or a pair of them;
            the circuit's own timeout by default, so there is always one.
        fallback: Receives the exception of a failed or refused call; what it returns is returned
            instead. The failure counts all the same.
        is_failure: Says whether a response is a failure, in place of the circuit's statuses.
        **requests_kwargs: Anything else that ``requests.request`` takes. With ``stream=True`` the
            call ends with the answer's body: one that breaks counts as a failure, and raises what
            requests raises.

    Returns:
        The ``requests.Response``, or what the fallback returned.

    Raises:
        CircuitOpenError: The circuit refuses calls; no request was sent.
        RemoteCallFailedException: A connection error, a timeout or a failure status. Its cause is
            the exception of requests; its ``response`` the answer, where there was one.
        InvalidInputError: The name or the URL cannot be used.
    """
    url = check_url(url).strip()
    try:
        return _call(name, url, method, timeout, is_failure, requests_kwargs)
    except RemoteCallFailedException as error:
        if fallback is None:
            raise
        return fallback(error)


def _call(
    name: str,
    url: str,
    method: str,
    timeout: Timeout,
    is_failure: Callable[[requests.Response], bool] | None,
    requests_kwargs: dict[str, Any],
) -> requests.Response:
    ticket = admit(name)
    seconds = _ended(timeout, ticket.gate.timeout)
    try:
        response = _session().request(method, url, timeout=seconds, **requests_kwargs)
        answer = judge(ticket, response, url, is_failure)
    except BaseException as error:
        if settle_error(ticket, error, FAILURES):
            raise failed(name, error) from error
        raise
    settle_with_body(ticket, answer, response)
    if answer.failed:
        cause = requests.HTTPError(answer.error, response=response)
        raise failed(name, cause, answer.error) from cause
    return response


def _ended(timeout: Timeout, default: float) -> Timeout:
    """Return the timeout with the circuit's own in place of none: nobody waits for ever."""
    if isinstance(timeout, tuple):
        connect, read = (default if part is None else part for part in timeout)
        return connect, read
    return default if timeout is None else timeout


async def acall(
    name: str,
    url: str,
    *,
    method: str = "GET",
    timeout: float | None = None,  # noqa: ASYNC109 - httpx's own, which covers each part
    fallback: Callable[[RemoteCallFailedException], Any] | None = None,
    is_failure: Callable[[httpx.Response], bool] | None = None,
    **httpx_kwargs: Any,
) -> Any:
    """Make an HTTP request through a circuit from async code, with httpx (the extra ``async``).

    Args, errors and ``fallback`` as in :func:`call`; the fallback may be a coroutine function.

    Returns:
        The ``httpx.Response``, or what the fallback returned.
    """
    url = check_url(url).strip()
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
    seconds: float | None,
    is_failure: Callable[[httpx.Response], bool] | None,
    httpx_kwargs: dict[str, Any],
) -> httpx.Response:
    import httpx

    from . import transports

    ticket = await aadmit(name)
    timeout = ticket.gate.timeout if seconds is None else seconds
    try:
        client = await _client()
        response = await client.request(method, url, timeout=timeout, **httpx_kwargs)
        answer = judge(ticket, response, url, is_failure)
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


# Connection pools --------------------------------------------------------------------------------


def _no_cookies() -> DefaultCookiePolicy:
    """A pool is shared by all who call: a cookie kept for one would be sent for another."""
    return DefaultCookiePolicy(allowed_domains=[])


def _session() -> requests.Session:
    """Return this thread's session, so that connections are kept and nothing is shared."""
    session: requests.Session | None = getattr(_local, "session", None)
    if session is None:
        session = _local.session = requests.Session()
        jar = RequestsCookieJar()
        jar.set_policy(_no_cookies())
        session.cookies = jar
    return session


def _leave_session_to_parent() -> None:
    """Start anew in a forked child: on a shared connection two processes mix up their answers."""
    _local.session = None


os.register_at_fork(after_in_child=_leave_session_to_parent)


#: Each event loop's client, and the generator that closes it at the loop's end.
_clients: Final[
    dict[
        asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, AsyncGenerator[httpx.AsyncClient, None]]
    ]
] = {}


async def _client() -> httpx.AsyncClient:
    """Return this event loop's client: its connections belong to the loop."""
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        for closed in [each for each in list(_clients) if each.is_closed()]:
            _clients.pop(closed, None)  # it was closed without an end to its generators
        generator = _open_client(loop)
        _clients[loop] = await anext(generator), generator
    return _clients[loop][0]


async def _open_client(
    loop: asyncio.AbstractEventLoop,
) -> AsyncGenerator[httpx.AsyncClient, None]:
    """Yield a client and close it when the loop ends, as ``asyncio.run`` ends all generators."""
    import httpx

    client = httpx.AsyncClient(
        cookies=CookieJar(_no_cookies()),
        follow_redirects=True,
        # As many connections as there are calls: those of one circuit must not wait for another's.
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
    )
    try:
        yield client
    finally:
        _clients.pop(loop, None)
        await client.aclose()
