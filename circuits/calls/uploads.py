"""Tells errors in reading a caller's own body from errors on the way to the remote.

A file that cannot be read looks like a broken connection, because urllib3 turns any ``OSError``
while sending into one. And a body may be the answer of another remote.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import requests

_MARK: Final = "_circuits_own_body"


def mark(error: BaseException) -> None:
    """Mark an exception as one that comes from the caller's own body."""
    with suppress(Exception):  # an exception of another library may refuse attributes
        setattr(error, _MARK, True)


def is_marked(error: BaseException) -> bool:
    """Return whether an exception comes from the body that a caller sent."""
    return getattr(error, "__dict__", {}).get(_MARK, False) is True


@contextmanager
def watching(request: requests.PreparedRequest) -> Iterator[None]:
    """Mark the exception that sending a request raises if it comes from the request's body."""
    body: Any = request.body
    if not _can_fail(body):
        yield
        return
    upload: Any = Upload(body)
    request.body = upload
    try:
        yield
    except Exception as error:
        if upload.has_failed():
            mark(error)
        raise
    finally:
        request.body = body


class Upload:
    """A body that notes whether reading it fails, and else behaves like the one it wraps.

    Args:
        body: A file, or an iterable of bytes.
    """

    def __init__(self, body: Any) -> None:
        self._body = body
        self._has_failed = False

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        # urllib3 asks whether it is a file of text, which must be encoded.
        return type(self._body)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._body, name)
        return self._read if name == "read" else value

    def __iter__(self) -> Iterator[Any]:
        with self._noting():
            yield from self._body

    def has_failed(self) -> bool:
        """Return whether reading the body has raised anything."""
        return self._has_failed

    def _read(self, *args: Any, **kwargs: Any) -> Any:
        with self._noting():
            return self._body.read(*args, **kwargs)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self._has_failed = True
            raise


def _can_fail(body: Any) -> bool:
    """Return whether a body is read while it is sent, rather than being in memory already."""
    if body is None or isinstance(body, (str, bytes)) or type(body) is Upload:
        return False
    with suppress(TypeError):
        memoryview(body)
        return False
    return hasattr(body, "read") or hasattr(body, "__iter__")
