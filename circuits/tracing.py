"""Attributes on the caller's OpenTelemetry span. Needs the extra `opentelemetry`.

A span that makes several calls keeps the attributes of the last: give each a span of its own.
"""

from __future__ import annotations

from opentelemetry import trace

from . import breaker, observers
from .observers import CallOutcome


def observe(name: str, outcome: CallOutcome, seconds: float) -> None:
    """Say on the current span how a call through a circuit went."""
    span = trace.get_current_span()
    if not span.is_recording():
        return
    span.set_attribute("circuit.name", name)
    span.set_attribute("circuit.outcome", outcome.value)
    snapshot = breaker.gate(name).snapshot
    if snapshot is not None:
        span.set_attribute("circuit.state", snapshot.status.state.value)


def connect() -> None:
    """Begin to annotate spans."""
    observers.add(observe)


def disconnect() -> None:
    """Leave spans alone."""
    observers.remove(observe)
