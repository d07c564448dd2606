"""A call that succeeds through a closed circuit with a fresh snapshot, and asks no query."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import circuits
from bench import peers
from bench.contenders import succeeding, unprotected
from bench.databases import circuits_on
from bench.measure import Effort, measure
from bench.results import Result, compare
from circuits.process import observers

from .case import Case

NAME: Final = "hot"


def run(effort: Effort) -> Result:
    """Time the ways to call, with and without observers, against the peers."""
    within = partial(circuits_on, "sqlite")
    contenders = [
        succeeding("no breaker", unprotected),
        succeeding("protect", circuits.protect(NAME), within),
        succeeding("guard", _guarded, within),
        succeeding("make_remote_call", _remote_call, within),
        succeeding("protect, observed", circuits.protect(NAME), _observed),
        succeeding("protect, OpenTelemetry", circuits.protect(NAME), _traced),
        succeeding("protect, span not recorded", circuits.protect(NAME), _sampled_out),
        succeeding("protect, Prometheus", circuits.protect(NAME), _counted),
        succeeding("protect, both", circuits.protect(NAME), _both),
        *(succeeding(each.name, each.protect) for each in _peers()),
    ]
    timings = measure(contenders, effort)
    return Result(
        name=NAME,
        title="A call that succeeds, closed circuit, no-op function, state in memory",
        timings=timings,
        baseline="pybreaker",
        ratios=(
            compare(timings, "protect", "pybreaker", limit=0.5),
            compare(timings, "protect", "circuitbreaker", limit=1.0),
            compare(timings, "protect", "interlock-cb"),
            compare(timings, "protect", "nopanic"),
            compare(timings, "guard", "pybreaker"),
            compare(timings, "make_remote_call", "pybreaker"),
            compare(timings, "protect, observed", "pybreaker"),
            compare(timings, "protect, OpenTelemetry", "pybreaker", limit=0.5),
            compare(timings, "protect, span not recorded", "pybreaker", limit=0.5),
            compare(timings, "protect, Prometheus", "pybreaker", limit=0.6),
            compare(timings, "protect, both", "pybreaker", limit=0.7),
        ),
    )


def _peers() -> list[peers.Peer]:
    return [
        peers.pybreaker(),
        peers.circuitbreaker(),
        peers.aiobreaker(),
        peers.resilient_circuit(),
        peers.interlock(),
        peers.nopanic(),
    ]


def _guarded(function: Callable[[], None]) -> Callable[[], None]:
    guard = circuits.guard

    def call() -> None:
        with guard(NAME):
            function()

    return call


def _remote_call(function: Callable[[], None]) -> Callable[[], Any]:
    return circuits.CircuitBreaker(function, name=NAME).make_remote_call


@contextmanager
def _observed() -> Iterator[None]:
    def observer(name: str, outcome: observers.CallOutcome, seconds: float) -> None:
        """Do nothing with the outcome."""

    observers.add(observer)
    try:
        with circuits_on("sqlite"):
            yield
    finally:
        observers.remove(observer)


@contextmanager
def _traced() -> Iterator[None]:
    """Connect OpenTelemetry, as on a site that has it, with no span current."""
    from circuits.integrations import otel

    otel.connect()
    try:
        with circuits_on("sqlite"):
            yield
    finally:
        otel.disconnect()


@contextmanager
def _sampled_out() -> Iterator[None]:
    """Connect OpenTelemetry, within a span that is not recorded."""
    from opentelemetry import trace

    with _traced(), trace.use_span(trace.NonRecordingSpan(trace.SpanContext(1, 1, False))):
        yield


@contextmanager
def _counted() -> Iterator[None]:
    from circuits.integrations import metrics

    metrics.connect()
    try:
        with circuits_on("sqlite"):
            yield
    finally:
        metrics.disconnect()


@contextmanager
def _both() -> Iterator[None]:
    from circuits.integrations import metrics

    metrics.connect()
    try:
        with _traced():
            yield
    finally:
        metrics.disconnect()


CASE: Final = Case(name=NAME, run=run)
