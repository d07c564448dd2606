"""Celery tasks whose work is a remote call: they wait for an open circuit instead of failing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn

from celery import Task, shared_task
from celery.exceptions import Ignore, Reject, Retry

from .breaker import admit, settle_error
from .exceptions import CircuitOpenError
from .gate import random
from .outcomes import Exceptions, Failures

#: The share of the wait that is added by chance, so that waiting tasks do not all come at once,
#: and the least it may amount to, in seconds.
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
        circuit_exclude: Those among them that count as nothing either.
    """

    abstract = True
    circuit: str = ""
    circuit_exceptions: Exceptions = Exception
    circuit_exclude: Exceptions = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task through the circuit, or send it back to wait."""
        try:
            return self._run_through_circuit(*args, **kwargs)
        except CircuitOpenError as refusal:
            self._wait(refusal)

    def _run_through_circuit(self, *args: Any, **kwargs: Any) -> Any:
        ticket = admit(self.circuit)
        try:
            result = super().__call__(*args, **kwargs)
        except (Ignore, Reject):
            ticket.release()
            raise
        except BaseException as error:
            # What a retry is about is the outcome; the retry itself is Celery's business.
            cause = error.exc if isinstance(error, Retry) and error.exc else error
            settle_error(ticket, cause, self._failures())
            raise
        ticket.succeed()
        return result

    def _failures(self) -> Failures:
        return Failures(self.circuit_exceptions, self.circuit_exclude)

    def _wait(self, refusal: CircuitOpenError) -> NoReturn:
        """Come back when the circuit may let calls through."""
        if self.request.called_directly or self.request.is_eager:
            raise refusal  # there is no queue to wait in
        spread = max(LEAST_SPREAD, SPREAD * refusal.retry_after)
        countdown = refusal.retry_after + random.random() * spread
        self.request.retries -= 1  # which retry() counts up again
        raise self.retry(exc=refusal, countdown=countdown, max_retries=None, throw=False)


def circuit_task(
    circuit: str, /, *, exceptions: Exceptions = Exception, exclude: Exceptions = (), **options: Any
) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function as a Celery task that runs through a circuit.

    Args:
        circuit: The circuit's name.
        exceptions: The exceptions that count as failures; any other counts as nothing.
        exclude: Those among them that count as nothing either.
        **options: Anything else that ``shared_task`` takes.

    The task waits for an open circuit without using up its retries, see :class:`CircuitTask`.
    """
    decorator: Callable[[Callable[..., Any]], Any] = shared_task(
        base=CircuitTask,
        circuit=circuit,
        circuit_exceptions=exceptions,
        circuit_exclude=exclude,
        **options,
    )
    return decorator
