"""Celery tasks whose work is a remote call: they wait for an open circuit instead of failing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn

from celery import Task, shared_task
from celery.exceptions import CeleryError, Ignore, MaxRetriesExceededError, Reject, Retry

from ..exceptions import CircuitOpenError
from ..process import results
from ..process.entry import begin_own
from ..process.gate import Ticket, random
from . import retries
from .failures import Exceptions, Failures
from .settle import settle_error

#: The share of the wait that is added as jitter, so that waiting tasks do not all come at once, and
#: the least jitter in seconds.
SPREAD: Final = 0.1
LEAST_SPREAD: Final = 1.0


class CircuitTask(Task):  # type: ignore[type-arg]
    """A task that runs through a circuit.

    While the circuit refuses calls the task is sent back to the queue until ``retry_after``, plus
    some jitter, and that does not use up its retries. A refusal that the task's own code meets,
    from ``circuits.call`` for one, is handled in the same way.

    Attributes:
        circuit: The circuit's name.
        circuit_exceptions: The exceptions that count as failures; any other counts as nothing.
        circuit_exclude: Exceptions that are answers of the remote, and so count as successes.
        circuit_waits_in: The queue to wait in; empty for the queue that the task came from.
        circuit_retries_within_budget: Whether it retries only within the budget that the fleet
            shares; see :func:`circuits.may_retry`.
    """

    abstract = True
    #: A refused task waits, and uses up no retry of ``autoretry_for``.
    dont_autoretry_for: tuple[type[Exception], ...] = (CircuitOpenError,)
    circuit: str = ""
    circuit_exceptions: Exceptions = Exception
    circuit_exclude: Exceptions = ()
    circuit_waits_in: str = ""
    circuit_retries_within_budget: bool = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task through the circuit, or send it back to wait."""
        try:
            return self._run_through_circuit(*args, **kwargs)
        except CircuitOpenError as refusal:
            self._wait(refusal)

    def _run_through_circuit(self, *args: Any, **kwargs: Any) -> Any:
        ticket = begin_own(self.circuit)
        try:
            result = super().__call__(*args, **kwargs)
        except (Ignore, Reject):
            results.release(ticket)
            raise
        except (Retry, MaxRetriesExceededError) as retry:
            _settle_retry(ticket, retry, self._failures())
            raise
        except BaseException as error:
            settle_error(ticket, error, self._failures())
            raise
        results.succeed(ticket)
        return result

    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: Exception | None = None,
        throw: bool = True,
        eta: Any = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Any:
        """Retry as any task does; but raise the failure if the budget of retries is spent."""
        cause = sys.exc_info()[1] if exc is None else exc
        most = self.max_retries if max_retries is None else max_retries
        has_one_left = most is None or self.request.retries < most
        if cause is not None and has_one_left and self._is_beyond_budget(cause):
            raise cause
        return super().retry(args, kwargs, exc, throw, eta, countdown, max_retries, **options)

    def _is_beyond_budget(self, cause: BaseException) -> bool:
        if not self.circuit_retries_within_budget or self.request.called_directly:
            return False
        is_failure = retries.is_failure(self.circuit, cause, self._failures())
        return is_failure and not retries.may_retry(self.circuit)

    def _failures(self) -> Failures:
        return Failures(self.circuit_exceptions, self.circuit_exclude)

    def _wait(self, refusal: CircuitOpenError) -> NoReturn:
        """Send the task back to the queue until the circuit may let calls through."""
        if self.request.called_directly or self.request.is_eager:
            raise refusal  # there is no queue to wait in
        spread = max(LEAST_SPREAD, SPREAD * refusal.retry_after)
        countdown = refusal.retry_after + random.random() * spread
        self.request.retries -= 1  # because retry() adds one
        elsewhere: dict[str, Any] = (
            {"queue": self.circuit_waits_in} if self.circuit_waits_in else {}
        )
        raise self.retry(
            exc=refusal, countdown=countdown, max_retries=None, throw=False, **elsewhere
        )


def _settle_retry(ticket: Ticket, retry: CeleryError, failures: Failures) -> None:
    """Report the outcome of a task that retries, by the exception that it names or handles.

    A task that does neither only polls, for a result that is not there yet.
    """
    cause = getattr(retry, "exc", None) or retry.__context__
    if isinstance(cause, BaseException):
        settle_error(ticket, cause, failures)
    else:
        results.release(ticket)


def circuit_task(
    circuit: str,
    /,
    *,
    exceptions: Exceptions = Exception,
    exclude: Exceptions = (),
    waits_in: str = "",
    retries_within_budget: bool = False,
    **options: Any,
) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function as a Celery task that runs through a circuit::

        @circuit_task(circuit="payments", exceptions=(sdk.Error,))
        def charge(order_id): ...

    Args:
        circuit: The circuit's name.
        exceptions: The exceptions that count as failures: a class, a callable that receives one
            and returns whether it counts, or a tuple of both. Any other counts as nothing.
        exclude: Exceptions that are answers of the remote, and so count as successes; named in the
            same way.
        waits_in: The queue that a task waits in, and then runs from, instead of its own. While a
            task waits, Celery keeps it in the memory of a worker, and on a quorum queue it takes
            one of the worker's places: with this queue, of a worker that has nothing else to do.
        retries_within_budget: Whether the task retries a failure, by ``autoretry_for`` or by its
            own ``retry``, only within the budget that the fleet shares. Once that is spent, the
            task fails as if it had used up its retries.
        **options: Anything else that ``shared_task`` takes.

    The task waits for an open circuit without using up its retries; see
    :class:`circuits.calls.celery.CircuitTask`.
    """
    decorator: Callable[[Callable[..., Any]], Any] = shared_task(
        base=CircuitTask,
        circuit=circuit,
        circuit_exceptions=exceptions,
        circuit_exclude=exclude,
        circuit_waits_in=waits_in,
        circuit_retries_within_budget=retries_within_budget,
        **options,
    )
    return decorator
