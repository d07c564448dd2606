"""Injected failures as the errors of requests and httpx that a caller of those expects."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

import requests
import urllib3

from ..exceptions import InjectedFailureError

if TYPE_CHECKING:
    import httpx

E = TypeVar("E", bound=Exception)


def of_requests(
    injected: InjectedFailureError, request: requests.PreparedRequest | None = None
) -> requests.RequestException:
    """Return an injected failure as the error that requests raises if a remote fails so."""
    kind = requests.ReadTimeout if injected.is_timeout else requests.ConnectionError
    return _caused(kind(str(injected), request=request), injected)


def of_httpx(injected: InjectedFailureError, request: httpx.Request) -> httpx.TransportError:
    """Return an injected failure as the error that httpx raises if a remote fails so."""
    import httpx

    kind = httpx.ReadTimeout if injected.is_timeout else httpx.ConnectError
    return _caused(kind(str(injected), request=request), injected)


def _caused(error: E, injected: InjectedFailureError) -> E:
    error.__cause__ = injected
    return error


def to_read(timeout: Any, unlimited: float | None = inf) -> float | None:
    """Return for how many seconds a call waits for its answer, by a timeout of requests.

    Args:
        unlimited: What to return for None.
    """
    part = timeout[-1] if isinstance(timeout, tuple) and timeout else timeout
    if isinstance(part, urllib3.Timeout):
        part = part.clone()
        part.start_connect()  # or it could not say what its total leaves for reading
        part = part.read_timeout
    if part is None:
        return unlimited
    return float(part) if isinstance(part, int | float) else inf
