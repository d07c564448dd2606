"""Circuit breakers for Django: persistent, shared by every process, run from the admin.

The names here are loaded when they are first used, so importing the package costs next to nothing
and never touches the app registry.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .breaker import CircuitBreaker, flush, guard, protect
    from .exceptions import (
        CircuitBusyError,
        CircuitOpenError,
        InvalidInputError,
        RemoteCallFailedException,
        TooManyCircuitsError,
    )
    from .handle import get
    from .http import acall, call

__all__ = [
    "CircuitBreaker",
    "CircuitBusyError",
    "CircuitOpenError",
    "InvalidInputError",
    "RemoteCallFailedException",
    "TooManyCircuitsError",
    "acall",
    "call",
    "flush",
    "get",
    "guard",
    "protect",
]

_HOMES = {
    "CircuitBreaker": "breaker",
    "CircuitBusyError": "exceptions",
    "CircuitOpenError": "exceptions",
    "InvalidInputError": "exceptions",
    "RemoteCallFailedException": "exceptions",
    "TooManyCircuitsError": "exceptions",
    "acall": "http",
    "call": "http",
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
