"""The attributes that a call through a circuit sets on the caller's span."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Tracer

import circuits
from circuits.integrations import otel
from circuits.process import runtime
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed", "_traced")


@pytest.fixture
def _traced() -> Iterator[None]:
    otel.connect()
    yield
    otel.disconnect()


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("tests")


@pytest.fixture
def _opened(committed: None) -> None:
    CircuitFactory.create(name="payments", opened=True)


def attributes(exporter: InMemorySpanExporter) -> dict[str, Mapping[str, Any]]:
    """Return the attributes of each finished span, by its name."""
    return {span.name: dict(span.attributes or {}) for span in exporter.get_finished_spans()}


def said(outcome: str, state: str = "closed", name: str = "payments") -> dict[str, str]:
    return {"circuit.name": name, "circuit.outcome": outcome, "circuit.state": state}


def test_each_outcome(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    @circuits.protect("payments", exceptions=ConnectionError)
    def call(error: Exception | None = None) -> None:
        if error is not None:
            raise error

    for error in (None, ConnectionError("down"), KeyError("a bug")):
        with suppress(ConnectionError, KeyError), tracer.start_as_current_span(repr(error)):
            call(error)
    assert attributes(exporter) == {
        "None": said("success"),
        "ConnectionError('down')": said("failure"),
        "KeyError('a bug')": said("ignored"),
    }


def test_a_refusal(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    CircuitFactory.create(name="payments", opened=True)
    for span in ("first", "known"):
        with (
            tracer.start_as_current_span(span),
            pytest.raises(circuits.CircuitOpenError),
            circuits.guard("payments"),
        ):
            pass
    assert attributes(exporter) == dict.fromkeys(("first", "known"), said("refused", "open"))


async def test_each_async_call_finds_its_own_span(
    tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    """Failures are settled in another thread, but it is the caller's span that they mark."""

    async def call(name: str, *, fails: bool) -> None:
        with tracer.start_as_current_span(name):
            try:
                async with circuits.guard(name):
                    await asyncio.sleep(0.01)
                    if fails:
                        raise ConnectionError("down")
            except ConnectionError:
                pass

    await asyncio.gather(*(call(f"c{number}", fails=number % 2 == 1) for number in range(10)))
    assert attributes(exporter) == {
        f"c{number}": said("failure" if number % 2 else "success", name=f"c{number}")
        for number in range(10)
    }


@pytest.mark.usefixtures("_opened")
async def test_an_async_refusal(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    with tracer.start_as_current_span("span"), pytest.raises(circuits.CircuitOpenError):
        async with circuits.guard("payments"):
            pass
    assert attributes(exporter) == {"span": said("refused", "open")}


def test_a_span_keeps_the_last_call(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    with tracer.start_as_current_span("span"):
        for name in ("first", "last"):
            with circuits.guard(name):
                pass
    assert attributes(exporter) == {"span": said("success", name="last")}


def test_no_url_reaches_a_span(remote: str, tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    with (
        tracer.start_as_current_span("span", record_exception=False),
        pytest.raises(circuits.RemoteCallFailedException),
    ):
        circuits.call("payments", f"{remote}/faulty?key=s3cret")
    assert attributes(exporter) == {"span": said("failure")}


def test_without_a_span_nothing_happens(exporter: InMemorySpanExporter) -> None:
    with circuits.guard("payments"):
        pass
    assert not exporter.get_finished_spans()


def test_a_span_that_is_not_recorded_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise AssertionError("asked for the state of a circuit nobody looks at")

    with circuits.guard("payments"):
        pass
    monkeypatch.setattr(runtime, "gate", fail)
    tracer = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("tests")
    with tracer.start_as_current_span("span") as span, circuits.guard("payments"):
        assert not span.is_recording()
