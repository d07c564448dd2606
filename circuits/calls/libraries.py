"""Reads exceptions of other libraries: the HTTP status they carry, and whose fault they are.

Tables list the exceptions by the names of their classes, so that none of the libraries has to be
imported. Nothing here raises, even if reading an attribute of an exception does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from requests.structures import CaseInsensitiveDict

from ..layers import layers

V = TypeVar("V")

#: The HTTP status for each code of gRPC, after ``google/rpc/code.proto``.
GRPC_STATUSES: Final[Mapping[str, int]] = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNKNOWN": 500,
    "INTERNAL": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

# How urllib and urllib3 report a redirect loop, for which they have no exception of its own.
_ENDLESS: Final = "would lead to an infinite loop"
_TOO_MANY: Final = re.compile(r"too many ([0-9]{3}) error responses")


def _of_urllib(error: Any) -> object:
    return None if _ENDLESS in str(error) else error.code


def _of_urllib3(error: Any) -> object:
    found = _TOO_MANY.search(str(error))
    return int(found[1]) if found else None


def _of_nothing(error: Any) -> object:
    return None


#: How to read the status that an exception carries, by the name of its class. Exceptions of other
#: classes may have a ``response`` with a ``status_code``, as those of requests and httpx do.
STATUS: Final[Mapping[str, Callable[[Any], object]]] = {
    "aiohttp.client_exceptions.ClientResponseError": lambda error: error.status,
    "aiohttp.client_exceptions.TooManyRedirects": _of_nothing,
    "botocore.exceptions.ClientError": lambda error: error.response["ResponseMetadata"][
        "HTTPStatusCode"
    ],
    "grpc.RpcError": lambda error: GRPC_STATUSES.get(error.code().name),
    "requests.exceptions.TooManyRedirects": _of_nothing,
    "urllib.error.HTTPError": _of_urllib,
    "urllib3.exceptions.ResponseError": _of_urllib3,
}

#: How to read the headers of the answer in the same way; by default, those of its ``response``.
HEADERS: Final[Mapping[str, Callable[[Any], object]]] = {
    "aiohttp.client_exceptions.ClientResponseError": lambda error: error.headers,
    "botocore.exceptions.ClientError": lambda error: error.response["ResponseMetadata"][
        "HTTPHeaders"
    ],
    "urllib.error.HTTPError": lambda error: error.headers,
}

#: Whether an exception is the caller's own fault: it asked for something that cannot be sent, all
#: connections of its own pool were in use, or it gave the call up.
OWN: Final[Mapping[str, bool]] = {
    "aiohttp.client_exceptions.InvalidURL": True,
    "aiohttp.client_exceptions.NonHttpUrlClientError": True,
    "botocore.exceptions.NoCredentialsError": True,
    "botocore.exceptions.NoRegionError": True,
    "botocore.exceptions.ParamValidationError": True,
    "botocore.exceptions.PartialCredentialsError": True,
    "builtins.UnicodeEncodeError": True,
    "concurrent.futures._base.CancelledError": True,
    "grpc.FutureCancelledError": True,
    "http.client.ImproperConnectionState": True,
    "http.client.InvalidURL": True,
    "httpcore.LocalProtocolError": True,
    "httpcore.PoolTimeout": True,
    "httpcore.UnsupportedProtocol": True,
    "httpx.CookieConflict": True,
    "httpx.InvalidURL": True,
    "httpx.LocalProtocolError": True,
    "httpx.PoolTimeout": True,
    "httpx.StreamError": True,
    "httpx.UnsupportedProtocol": True,
    "requests.exceptions.InvalidHeader": True,
    "requests.exceptions.InvalidJSONError": True,
    "requests.exceptions.InvalidSchema": True,
    "requests.exceptions.InvalidURL": True,
    "requests.exceptions.JSONDecodeError": False,  # which is an InvalidJSONError too
    "requests.exceptions.MissingSchema": True,
    "requests.exceptions.StreamConsumedError": True,
    "requests.exceptions.UnrewindableBodyError": True,
    "urllib3.exceptions.ClosedPoolError": True,
    "urllib3.exceptions.EmptyPoolError": True,
    "urllib3.exceptions.FullPoolError": True,
    "urllib3.exceptions.InvalidHeader": False,  # of an answer; requests wraps it in its own
    "urllib3.exceptions.LocationValueError": True,
    "urllib3.exceptions.UnrewindableBodyError": True,
}


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status for which an exception was raised; None if there was none.

    A status below 300 is not why an exception was raised: such an answer was bad in another way.
    Neither is the status of the last answer after too many redirects.
    """
    answer = _answer_of(error)
    return answer and answer[1]


def headers_of(error: BaseException) -> Mapping[str, str]:
    """Return the headers of the answer for which an exception was raised; empty without one."""
    answer = _answer_of(error)
    if answer is None:
        return {}
    _, read = _entry(answer[0], HEADERS)
    found = _looked_at(lambda each: _headers((read or _of_its_response)(each)), answer[0])
    return found or {}


def _headers(found: Any) -> Mapping[str, str]:
    return CaseInsensitiveDict({name: str(value) for name, value in found.items()})


def _answer_of(error: BaseException) -> tuple[BaseException, int] | None:
    """Return the exception that was raised for an answer, unwrapped, and the status."""
    for each in layers(error):
        _, read = _entry(each, STATUS)
        status = _looked_at(read or _of_response, each)
        if isinstance(status, int) and status >= 300:
            return each, int(status)
    return None


def response_of(error: BaseException) -> Any:
    """Return the response that an exception carries, of any library; None without one."""
    return _looked_at(lambda error: error.response, error)


def own_kind(error: BaseException) -> type[BaseException] | None:
    """Return the class that makes an exception the caller's own fault; None if none does.

    >>> import requests
    >>> own_kind(requests.exceptions.InvalidURL("no host"))
    <class 'requests.exceptions.InvalidURL'>
    >>> own_kind(requests.ConnectionError("refused"))
    """
    for each in layers(error):
        kind, is_own = _entry(each, OWN)
        if is_own is not None:
            return kind if is_own else None
        if _looked_at(lambda error: error.code().name, each) == "CANCELLED":
            return type(each)
    return None


def _entry(
    error: BaseException, table: Mapping[str, V]
) -> tuple[type[BaseException] | None, V | None]:
    """Return the class by which an exception is in a table, and its entry."""
    for kind in type(error).__mro__:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if name in table:
            return kind, table[name]
    return None, None


def _of_response(error: Any) -> object:
    return error.response.status_code


def _of_its_response(error: Any) -> object:
    return error.response.headers


def _looked_at(look: Callable[[Any], V], error: BaseException) -> V | None:
    """Return ``look(error)``, or None if that raises, as exceptions of others may do."""
    try:
        return look(error)
    except Exception:
        return None
