"""Circuit breakers for Django: persistent, shared by every process, run from the admin.

The names here are loaded when they are first used, so importing the package costs next to nothing
and never touches the app registry. The exceptions are there at once: what rebuilds them by name, as
Celery does with a task's, looks at what is loaded already.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .exceptions import (
    CircuitBusyError,
    CircuitOpenError,
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
    from .calls.transports import AsyncCircuitTransport, CircuitTransport
    from .process.runtime import flush
    from .steering.handle import get

__all__ = [
    "AsyncCircuitTransport",
    "CircuitAdapter",
    "CircuitBreaker",
    "CircuitBusyError",
    "CircuitOpenError",
    "CircuitTransport",
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
    "protect",
]

_HOMES = {
    "AsyncCircuitTransport": "calls.transports",
    "CircuitAdapter": "calls.adapters",
    "CircuitBreaker": "calls.guard",
    "CircuitTransport": "calls.transports",
    "acall": "calls.http",
    "call": "calls.http",
    "circuit_task": "calls.celery",
    "flush": "process.runtime",
    "get": "steering.handle",
    "guard": "calls.guard",
    "protect": "calls.guard",
}


#: Refusals that are errors of a library or framework too, each with the module that has it.
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
    """Return the class of a refusal; where its library is not to be had, the one it extends."""
    try:
        found: type[CircuitOpenError] = getattr(
            import_module(f".{_REFUSALS[name]}", __name__), name
        )
    except Exception:  # not installed, or Django not set up: who reads a result may be anybody
        return CircuitBusyError if name.startswith("CircuitBusy") else CircuitOpenError
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
