"""Sets attributes on the caller's OpenTelemetry span. Needs the extra `opentelemetry`.

A span around several calls keeps the attributes of the last one, so give each call its own span.
"""

from __future__ import annotations

from opentelemetry import trace

from ..process import observers, runtime
from ..process.observers import CallOutcome


def observe(name: str, outcome: CallOutcome, seconds: float) -> None:
    """Set the outcome of a call through a circuit as attributes of the current span."""
    span = trace.get_current_span()
    if not span.is_recording():
        return
    span.set_attribute("circuit.name", name)
    span.set_attribute("circuit.outcome", outcome.value)
    snapshot = runtime.gate(name).snapshot
    if snapshot is not None:
        span.set_attribute("circuit.state", snapshot.status.state.value)


def connect() -> None:
    """Start annotating spans."""
    observers.add(observe)


def disconnect() -> None:
    """Stop annotating spans."""
    observers.remove(observe)
