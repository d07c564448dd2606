"""Circuit breakers for Django: persistent, shared by every process, run from the admin.

The names here are loaded when they are first used, so importing the package costs next to nothing
and never touches the app registry.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapters import CircuitAdapter
    from .breaker import CircuitBreaker, flush, guard, protect
    from .celery import circuit_task
    from .exceptions import (
        CircuitBusyError,
        CircuitOpenError,
        InvalidInputError,
        RemoteCallFailedException,
        TooManyCircuitsError,
    )
    from .handle import get
    from .http import acall, call
    from .transports import AsyncCircuitTransport, CircuitTransport

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
    "acall",
    "call",
    "circuit_task",
    "flush",
    "get",
    "guard",
    "protect",
]

_HOMES = {
    "AsyncCircuitTransport": "transports",
    "CircuitAdapter": "adapters",
    "CircuitBreaker": "breaker",
    "CircuitBusyError": "exceptions",
    "CircuitOpenError": "exceptions",
    "CircuitTransport": "transports",
    "InvalidInputError": "exceptions",
    "RemoteCallFailedException": "exceptions",
    "TooManyCircuitsError": "exceptions",
    "acall": "http",
    "call": "http",
    "circuit_task": "celery",
    "flush": "breaker",
    "get": "handle",
    "guard": "breaker",
    "protect": "breaker",
}


def __getattr__(name: str) -> Any:
    """Load a public name at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
