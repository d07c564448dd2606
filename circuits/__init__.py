"""Circuit breakers for Django: persistent, shared by every process, run from the admin.

The names here are loaded when they are first used, so importing the package costs next to nothing
and never touches the app registry. Only the exceptions are loaded at once, since code that rebuilds
them by name, as Celery does with those of a task, looks only at loaded names.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .exceptions import (
    CircuitBusyError,
    CircuitOpenError,
    InjectedFailureError,
    InvalidInputError,
    RemoteCallFailedException,
    TooManyCircuitsError,
    UnknownCircuitError,
)

if TYPE_CHECKING:
    from .calls.adapters import CircuitAdapter
    from .calls.celery import circuit_task
    from .calls.guard import CircuitBreaker, guard, protect
    from .calls.http import acall, call
    from .calls.retries import BudgetedRetry, may_retry, retry_within
    from .calls.transports import AsyncCircuitTransport, CircuitTransport
    from .process.runtime import flush
    from .steering.handle import get

__all__ = [
    "AsyncCircuitTransport",
    "BudgetedRetry",
    "CircuitAdapter",
    "CircuitBreaker",
    "CircuitBusyError",
    "CircuitOpenError",
    "CircuitTransport",
    "InjectedFailureError",
    "InvalidInputError",
    "RemoteCallFailedException",
    "TooManyCircuitsError",
    "UnknownCircuitError",
    "acall",
    "call",
    "circuit_task",
    "flush",
    "get",
    "guard",
    "may_retry",
    "protect",
    "retry_within",
]

_HOMES = {
    "AsyncCircuitTransport": "calls.transports",
    "BudgetedRetry": "calls.retries",
    "CircuitAdapter": "calls.adapters",
    "CircuitBreaker": "calls.guard",
    "CircuitTransport": "calls.transports",
    "acall": "calls.http",
    "call": "calls.http",
    "circuit_task": "calls.celery",
    "flush": "process.runtime",
    "get": "steering.handle",
    "guard": "calls.guard",
    "may_retry": "calls.retries",
    "protect": "calls.guard",
    "retry_within": "calls.retries",
}


#: Refusals that are also errors of a library or framework, each with the module that defines it.
_REFUSALS = {
    "CircuitBusyAPIError": "integrations.drf",
    "CircuitBusyConnectError": "calls.transports",
    "CircuitBusyConnectionError": "calls.adapters",
    "CircuitOpenAPIError": "integrations.drf",
    "CircuitOpenConnectError": "calls.transports",
    "CircuitOpenConnectionError": "calls.adapters",
}


def __getattr__(name: str) -> Any:
    """Load a public name at its first use (PEP 562)."""
    if name in _REFUSALS:
        return _refusal(name)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value


def _refusal(name: str) -> type[CircuitOpenError]:
    """Return the class of a refusal; if its library is missing, the class that it extends."""
    try:
        found: type[CircuitOpenError] = getattr(
            import_module(f".{_REFUSALS[name]}", __name__), name
        )
    except Exception:  # the library is missing, or the reader of a result has no Django
        return CircuitBusyError if name.startswith("CircuitBusy") else CircuitOpenError
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
