"""An adapter for sessions of requests, which puts an SDK that uses one behind a circuit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import requests
from requests.adapters import BaseAdapter, HTTPAdapter

from ..exceptions import CircuitBusyError, CircuitOpenError, InjectedFailureError
from ..process.entry import begin_own
from .answers import judge
from .bodies import settle_with_body
from .http import FAILURES
from .injected import of_requests, to_read
from .naming import Name, check_naming, name_of
from .refusals import also
from .settle import settle_error
from .uploads import watching


class CircuitOpenConnectionError(CircuitOpenError, requests.ConnectionError):
    """A refusal that is a connection error for code written for requests.

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
        request: requests.PreparedRequest | None = None,
        is_alone: bool = False,
    ) -> None:
        super().__init__(name, retry_after, is_alone)
        self.request = request


class CircuitBusyConnectionError(CircuitBusyError, CircuitOpenConnectionError):
    """A refusal because of ``max_concurrent``, as a connection error of requests."""

    __module__ = "circuits"


class CircuitAdapter(BaseAdapter):
    """Sends the requests of a session of requests through circuits::

        session.mount("https://payments.example/", CircuitAdapter("payments"))

    Responses and exceptions reach the session untouched. A failure status, a connection error, a
    timeout and a body that breaks count as failures; the retries of the inner adapter are one
    call; each redirect is a call of its own. A refusal is a :class:`CircuitOpenError` and a
    ``requests.ConnectionError`` in one.

    Args:
        name: The circuit's name, a template with ``{host}``, ``{port}`` or ``{scheme}``, or a
            callable that receives the ``PreparedRequest`` and returns a name.
        adapter: The adapter that sends the requests; ``HTTPAdapter()`` by default.
        is_failure: Returns whether a response is a failure, in place of the circuit's statuses.

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
        send = partial(
            self._inner.send,
            request,
            stream=stream,
            timeout=timeout,
            verify=verify,
            cert=cert,
            proxies=proxies,
        )
        url = request.url or ""
        name = name_of(self._name, request, url)
        if name is None:
            return send()
        try:
            ticket = begin_own(name, to_read(timeout))
        except CircuitOpenError as refusal:
            raise _as_connection_error(refusal, request) from None
        except InjectedFailureError as injected:
            raise of_requests(injected, request) from injected
        try:
            with watching(request):
                response = send()
            answer = judge(ticket, response, url, self._is_failure)
        except BaseException as error:
            settle_error(ticket, error, FAILURES)
            raise
        settle_with_body(ticket, answer, response)
        # Code that sends again over the response's connection, as digest auth does, comes here too.
        response.connection = self  # type: ignore[assignment]
        return response

    def close(self) -> None:
        """Close the inner adapter."""
        self._inner.close()

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute, such as ``poolmanager``, from the inner adapter."""
        if name.startswith("_"):  # private to the inner adapter, or not there yet in a copy
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._inner, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Set any other attribute, such as ``max_retries``, on the inner adapter, which uses it."""
        if name.startswith("_") or hasattr(type(self), name):
            super().__setattr__(name, value)
        else:
            setattr(self._inner, name, value)


def _as_connection_error(
    refusal: CircuitOpenError, request: requests.PreparedRequest
) -> CircuitOpenConnectionError:
    is_busy = isinstance(refusal, CircuitBusyError)
    kind = CircuitBusyConnectionError if is_busy else CircuitOpenConnectionError
    return also(kind, refusal)(refusal.name, refusal.retry_after, request, refusal.is_alone)
