"""A circuit under requests: mounted on a session, so that an SDK built on it is protected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import requests
from requests.adapters import BaseAdapter, HTTPAdapter

from .answers import judge
from .bodies import settle_with_body
from .breaker import admit, settle_error
from .exceptions import CircuitBusyError, CircuitOpenError
from .http import FAILURES
from .naming import Name, check_naming, name_of


class CircuitOpenConnectionError(CircuitOpenError, requests.ConnectionError):
    """A refusal that code written for requests takes for what it is to it: no connection.

    Args:
        name: The circuit's name.
        retry_after: Seconds until a call may be let through again.
        request: The request that was not sent.
    """

    def __init__(
        self, name: str, retry_after: float, request: requests.PreparedRequest | None = None
    ) -> None:
        super().__init__(name, retry_after)
        self.request = request


class CircuitBusyConnectionError(CircuitBusyError, CircuitOpenConnectionError):
    """A refusal because of ``max_concurrent``, as a connection error of requests."""


class CircuitAdapter(BaseAdapter):
    """Sends the requests of a session through circuits; mount it where they should be protected.

    Responses and exceptions reach the session untouched. A failure status, a connection error, a
    timeout and a body that breaks count as failures; the retries of the inner adapter are one
    call; each redirect is a call of its own. A refusal is a :class:`CircuitOpenError` and a
    ``requests.ConnectionError`` in one.

    Args:
        name: The circuit's name, a template with ``{host}``, ``{port}`` or ``{scheme}``, or a
            callable that receives the ``PreparedRequest`` and returns a name.
        adapter: What sends the requests; ``HTTPAdapter()`` by default.
        is_failure: Says whether a response is a failure, in place of the circuit's statuses.

    Raises:
        InvalidInputError: The name cannot be a circuit's.
    """

    def __init__(
        self,
        name: Name = "{host}",
        *,
        adapter: BaseAdapter | None = None,
        is_failure: Callable[[requests.Response], bool] | None = None,
    ) -> None:
        super().__init__()
        self._name = check_naming(name)
        self._inner = HTTPAdapter() if adapter is None else adapter
        self._is_failure = is_failure

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a request through its circuit; arguments and result are those of requests.

        Raises:
            CircuitOpenConnectionError: The circuit refuses calls; no request was sent.
        """
        url = request.url or ""
        try:
            ticket = admit(name_of(self._name, request, url))
        except CircuitOpenError as refusal:
            raise _as_connection_error(refusal, request) from None
        try:
            response = self._inner.send(
                request, stream=stream, timeout=timeout, verify=verify, cert=cert, proxies=proxies
            )
            answer = judge(ticket, response, url, self._is_failure)
        except BaseException as error:
            settle_error(ticket, error, FAILURES)
            raise
        settle_with_body(ticket, answer, response)
        # Who sends again over the response's connection, as digest auth does, comes by here too.
        response.connection = self  # type: ignore[assignment]
        return response

    def close(self) -> None:
        """Close the inner adapter."""
        self._inner.close()


def _as_connection_error(
    refusal: CircuitOpenError, request: requests.PreparedRequest
) -> CircuitOpenConnectionError:
    is_busy = isinstance(refusal, CircuitBusyError)
    kind = CircuitBusyConnectionError if is_busy else CircuitOpenConnectionError
    return kind(refusal.name, refusal.retry_after, request)
