"""Sets attributes on the caller's OpenTelemetry span, and connects the metrics.

Needs the extra `opentelemetry`.

A span around several calls keeps the attributes of the last one, so give each call its own span.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan

from ..process import observers, runtime
from ..process.observers import CallOutcome
from . import otel_metrics


def _asks_for_context() -> Callable[[], Context]:
    """Return the shortest way to the current context: each function in between counts here."""
    variable = getattr(getattr(context, "_RUNTIME_CONTEXT", None), "_current_context", None)
    return variable.get if isinstance(variable, ContextVar) else context.get_current


#: The key that a span has in a context.
_SPAN: Final = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, Context())))

#: Returns the context of the caller, which is false while it is empty. Every call asks for it.
current_context: Final = _asks_for_context()


def observe(name: str, outcome: CallOutcome, seconds: float) -> None:
    """Set the outcome of a call through a circuit as attributes of the current span."""
    span: Any = current_context().get(_SPAN)
    if span is None or type(span) is NonRecordingSpan or not span.is_recording():
        return
    span.set_attribute("circuit.name", name)
    span.set_attribute("circuit.outcome", outcome.value)
    snapshot = runtime.gate(name).snapshot
    if snapshot is not None:
        span.set_attribute("circuit.state", snapshot.status.state.value)
    otel_metrics.durations().record(name, outcome, seconds)


def connect() -> None:
    """Start annotating spans and counting calls."""
    observers.add(observe, when=current_context)
    otel_metrics.connect()


def disconnect() -> None:
    """Stop annotating spans and counting calls."""
    observers.remove(observe)
    otel_metrics.disconnect()
