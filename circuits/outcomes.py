"""Which exceptions are failures of the remote."""

from __future__ import annotations

from . import conf
from .exceptions import CircuitOpenError

Exceptions = type[BaseException] | tuple[type[BaseException], ...]


def is_failure(error: BaseException, exceptions: Exceptions) -> bool:
    """Return whether an exception counts as a failed call.

    Args:
        exceptions: The classes that count.

    An HTTP error that carries its response, as those of requests and httpx do, counts by its
    status: a 404 is an answer. A refusal by another circuit says nothing about this remote.
    """
    if not isinstance(error, exceptions) or isinstance(error, CircuitOpenError):
        return False
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status in conf.get().failure_statuses if isinstance(status, int) else True
