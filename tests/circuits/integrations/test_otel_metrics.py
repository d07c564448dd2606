"""The metrics for OpenTelemetry, as its SDK collects them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.db.models import F
from opentelemetry import metrics as api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

import circuits
from circuits.integrations import otel, otel_metrics
from circuits.models import Circuit
from circuits.process import counts, runtime
from tests.calls import succeed
from tests.concurrency import in_threads, switching_often
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed", "_counting")

READER = InMemoryMetricReader()


@pytest.fixture(scope="module", autouse=True)
def _provided() -> None:
    """Set the meter provider, of which a process has only one."""
    api.set_meter_provider(MeterProvider([READER], shutdown_on_exit=False))


@pytest.fixture
def _counting() -> Iterator[None]:
    otel.connect()
    yield
    otel.disconnect()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Return the name of a circuit of the test's own, since counts live as long as the process."""
    return f"{request.node.name} {uuid4().hex[:8]}"


def collected() -> dict[str, Any]:
    """Collect the metrics, and return them by name."""
    data = READER.get_metrics_data()
    assert data is not None
    return {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def points(metric: str, name: str) -> dict[tuple[Any, ...], Any]:
    """Return the points of a metric for one circuit, by the values of their other attributes."""
    found = {}
    for point in collected()[metric].data.data_points:
        attributes = dict(point.attributes)
        if attributes.pop("circuit.name") == name:
            found[tuple(attributes.values())] = point
    return found


def values(metric: str, name: str) -> dict[tuple[Any, ...], Any]:
    return {key: point.value for key, point in points(metric, name).items()}


def fail(name: str) -> None:
    with pytest.raises(ConnectionError), circuits.guard(name):
        raise ConnectionError("down")


def test_calls_by_outcome(name: str) -> None:
    for _ in range(3):
        succeed(name)
    for _ in range(5):
        fail(name)
    with pytest.raises(circuits.CircuitOpenError):
        succeed(name)
    assert values("circuits.calls", name) == {("success",): 3, ("failure",): 5, ("refused",): 1}
    assert values("circuits.transitions", name) == {("closed", "open"): 1}
    assert values("circuits.state", name) == {("closed",): 0, ("open",): 1, ("half_open",): 0}


def test_durations_fall_into_their_buckets_and_sum_up(name: str) -> None:
    for _ in range(3):
        succeed(name)
    with circuits.guard(name):
        time.sleep(0.03)
    first = points("circuits.call.duration", name)["success",]
    assert first.explicit_bounds == counts.BOUNDS
    assert first.count == 4
    assert sum(first.bucket_counts[:3]) == 3
    assert 0.03 <= first.sum < 1
    succeed(name)
    again = points("circuits.call.duration", name)["success",]
    assert again.count == 5
    [read] = [each for each in counts.read() if each.name == name]
    [ended] = read.ended.values()
    assert tuple(again.bucket_counts) == ended.calls
    assert again.sum == pytest.approx(sum(ended.seconds))


def test_a_refused_call_has_no_duration(name: str) -> None:
    CircuitFactory.create(name=name, opened=True)
    with pytest.raises(circuits.CircuitOpenError):
        succeed(name)
    assert points("circuits.call.duration", name) == {}


def test_a_call_on_a_recorded_span_is_an_exemplar_and_counts_once(name: str) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("tests")
    succeed(name)
    with tracer.start_as_current_span("span") as span:
        succeed(name)
    succeed(name)
    point = points("circuits.call.duration", name)["success",]
    assert point.count == 3
    assert [each.span_id for each in point.exemplars] == [span.get_span_context().span_id]
    assert values("circuits.calls", name) == {("success",): 3}


def test_threads_lose_nothing(name: str) -> None:
    def work(index: int) -> None:
        for _ in range(300):
            succeed(name)
        otel_metrics.durations().hand_over()

    with switching_often():
        in_threads(4, work)
    assert values("circuits.calls", name) == {("success",): 1_200}
    assert points("circuits.call.duration", name)["success",].count == 1_200


def test_a_whole_life_of_transitions(name: str) -> None:
    for _ in range(5):
        fail(name)
    Circuit.objects.update(retry_at=F("opened_at"))
    runtime.forget()
    succeed(name)
    assert values("circuits.transitions", name) == {
        ("closed", "open"): 1,
        ("open", "half_open"): 1,
        ("half_open", "closed"): 1,
    }


def test_without_the_database_the_rest_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(most: int) -> None:
        raise OperationalError("the server is gone")

    succeed(name)
    monkeypatch.setattr("circuits.integrations.states.most_urgent", fails)
    assert values("circuits.calls", name) == {("success",): 1}
    assert "circuits.state" not in collected()


@pytest.mark.usefixtures("faults_allowed")
def test_injected_faults_are_told_while_they_last(name: str) -> None:
    succeed(name)
    assert values("circuits.injected", name) == {(): 0}
    circuits.get(name).inject(failures=0.5)
    assert values("circuits.injected", name) == {(): 1}
    circuits.get(name).stop_injection()
    assert values("circuits.injected", name) == {(): 0}


def test_names_and_units(name: str) -> None:
    succeed(name)
    fail(f"{name} failing")
    circuits.get(name).force_open()
    for _ in range(5):
        fail(f"{name} opened")
    units = {each.name: each.unit for each in collected().values()}
    assert units == {
        "circuits.calls": "{call}",
        "circuits.call.duration": "s",
        "circuits.transitions": "{transition}",
        "circuits.state": "1",
        "circuits.injected": "1",
    }


def test_without_a_meter_provider_nothing_is_counted(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "get_meter_provider", lambda: api.NoOpMeterProvider())
    succeed(name)
    assert name not in {each.name for each in counts.read()}
