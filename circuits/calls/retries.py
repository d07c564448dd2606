"""Retries within the budget that the fleet shares: when to retry, for whichever library does it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import MaxRetryError, ResponseError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry

from ..process import entry, loops, runtime
from ..process.gate import Gate
from ..process.observers import CallOutcome
from .failures import Exceptions, Failures


def may_retry(name: str) -> bool:
    """Return whether a call that failed may be made once more, and count that as a retry::

        for attempt in range(4):
            try:
                return circuits.call("payments", url)
            except circuits.CircuitOpenError:
                raise
            except circuits.RemoteCallFailedException:
                if attempt == 3 or not circuits.may_retry("payments"):
                    raise

    It is true while the retries of all processes that ask are within ``retry_share`` of their calls
    in the last ``window_seconds``, plus ten. Ask once before each retry. Without a database, and in
    an event loop before the first call through the circuit, a process knows of itself only.

    Args:
        name: The circuit's name.

    Raises:
        InvalidInputError: The name is not valid for a circuit.
        TooManyCircuitsError: The circuit is new, and ``MAX_CIRCUITS`` exist already.
    """
    return _gate(name).may_retry()


def retry_within(
    name: str, *, exceptions: Exceptions = Exception, exclude: Exceptions = ()
) -> Callable[[BaseException], bool]:
    """Return a predicate that says whether to retry after an exception, within the budget::

        @stamina.retry(on=circuits.retry_within("payments"), attempts=4)
        def charge(order): ...

        @tenacity.retry(
            retry=tenacity.retry_if_exception(circuits.retry_within("payments")),
            stop=tenacity.stop_after_attempt(4),
        )
        async def refund(order): ...

    It is false for a refusal, and for any exception that is no failure of the circuit, without
    asking the budget; else it is what :func:`may_retry` says. Both libraries ask after the last
    attempt too, so a call that fails to the end counts one retry more than it makes.

    Args:
        name: The circuit's name.
        exceptions: The exceptions that count as failures, as in :func:`circuits.protect`.
        exclude: Exceptions that are answers of the remote, named in the same way.

    Raises:
        InvalidInputError: ``exceptions`` or ``exclude`` names something else.
    """
    return partial(_may_retry_after, name, Failures(exceptions, exclude))


def is_failure(name: str, error: BaseException, failures: Failures) -> bool:
    """Return whether an exception is a failure of the circuit; a refusal is none."""
    statuses = runtime.gate(name).view.failure_statuses
    return failures.judge(error, statuses) is CallOutcome.FAILURE


def _may_retry_after(name: str, failures: Failures, error: BaseException) -> bool:
    return is_failure(name, error, failures) and may_retry(name)


def _gate(name: str) -> Gate:
    known = runtime.gate(name)
    if known.snapshot is None and not loops.is_running():
        return entry.current(name)[0]
    return known


class BudgetedRetry(Retry):
    """urllib3's ``Retry``, which also gives up when the budget of retries is spent::

        session.mount("https://", HTTPAdapter(max_retries=circuits.BudgetedRetry("payments", 3)))

    Redirects are no retries, and are not counted.

    Args:
        name: The circuit's name.
        total: How many retries one request may have, as in ``Retry``.
        **options: Anything else that ``Retry`` takes.
    """

    def __init__(self, name: str, total: bool | int | None = 3, **options: Any) -> None:
        super().__init__(total, **options)
        self.name = name

    def new(self, **kw: Any) -> Any:
        """Return a copy with other values, for the same circuit."""
        return super().new(**{"name": self.name, **kw})

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Any:
        """Return what is left after one retry more.

        Raises:
            MaxRetryError: The request has had its retries, or the budget is spent.
        """
        left = super().increment(method, url, response, error, _pool, _stacktrace)
        tried = left.history[-1]
        if tried.redirect_location is not None or may_retry(self.name):
            return left
        reason = error or ResponseError(_reason(tried.status))
        raise MaxRetryError(_pool, url, reason) from reason  # type: ignore[arg-type]


def _reason(status: int | None) -> str:
    if status is None:
        return ResponseError.GENERIC_ERROR
    return ResponseError.SPECIFIC_ERROR.format(status_code=status)
