"""The metrics for Prometheus, in one process and over several."""

from __future__ import annotations

import re
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.db.models import F
from django.test import Client
from django.utils import timezone
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import DjangoAssertNumQueries, Settings

import circuits
from circuits.core.status import Mode, State
from circuits.integrations import metrics
from circuits.models import Circuit
from circuits.process import counts, runtime
from tests.calls import succeed
from tests.concurrency import (
    in_processes,
    in_threads,
    let_go,
    result_of,
    start_worker,
    switching_often,
)
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed", "_counting")


@pytest.fixture
def _counting() -> Iterator[None]:
    metrics.connect()
    yield
    metrics.disconnect()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Return the name of a circuit of the test's own, since counts live as long as the process."""
    return str(request.node.name)


def samples() -> dict[tuple[str, ...], float]:
    """Scrape, and return each sample by its name and the values of its labels."""
    content, _content_type = metrics.page("")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(content.decode())
        for sample in family.samples
    }


def calls(name: str) -> dict[str, float]:
    """Return the counted calls through a circuit, by outcome."""
    return {
        key[2]: value
        for key, value in samples().items()
        if key[:2] == ("circuits_calls_total", name)
    }


def transitions(name: str) -> dict[tuple[str, ...], float]:
    """Return the counted changes of a circuit's state, by the states before and after."""
    return {
        key[2:]: value
        for key, value in samples().items()
        if key[:2] == ("circuits_transitions_total", name)
    }


def fail(name: str) -> None:
    with pytest.raises(ConnectionError), circuits.guard(name):
        raise ConnectionError("down")


def test_calls_by_outcome(name: str) -> None:
    for _ in range(3):
        succeed(name)
    for _ in range(5):
        fail(name)
    for _ in range(2):
        with pytest.raises(circuits.CircuitOpenError):
            succeed(name)
    with pytest.raises(KeyError), circuits.guard(f"{name} too", exceptions=ConnectionError):
        raise KeyError("a bug")
    assert calls(name) == {"success": 3, "failure": 5, "refused": 2}
    assert calls(f"{name} too") == {"ignored": 1}


def test_how_long_calls_took(name: str) -> None:
    with circuits.guard(name):
        time.sleep(0.05)
    CircuitFactory.create(name=f"{name} open", opened=True)
    with pytest.raises(circuits.CircuitOpenError):
        succeed(f"{name} open")
    found = samples()
    assert found["circuits_call_duration_seconds_count", name] == 1
    assert 0.05 <= found["circuits_call_duration_seconds_sum", name] < 5
    assert found["circuits_call_duration_seconds_bucket", name, "0.025"] == 0
    # A refused call took no time: counted, it would make the remote look fast.
    assert ("circuits_call_duration_seconds_count", f"{name} open") not in found


def test_transitions(name: str) -> None:
    for _ in range(5):
        fail(name)
    Circuit.objects.update(retry_at=F("opened_at"))
    runtime.forget()
    succeed(name)
    assert transitions(name) == {
        ("closed", "open"): 1,
        ("open", "half_open"): 1,
        ("half_open", "closed"): 1,
    }


def test_a_change_of_mode_is_none_of_state(name: str) -> None:
    succeed(name)
    circuits.get(name).observe()
    assert transitions(name) == {}
    assert samples()["circuits_mode", name, "observe"] == 1


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("mode", list(Mode))
def test_the_state_is_the_databases(state: State, mode: Mode) -> None:
    """This includes circuits that this process does not know."""
    CircuitFactory.create(name="payments", opened=True, state=state, mode=mode)
    found = samples()
    assert {each: found["circuits_state", "payments", each] for each in State} == {
        each: each == state for each in State
    }
    assert {each: found["circuits_mode", "payments", each] for each in Mode} == {
        each: each == mode for each in Mode
    }
    assert found["circuits_database_up",] == 1


@pytest.mark.usefixtures("faults_allowed")
def test_injected_faults_are_told_while_they_last(name: str, settings: Settings) -> None:
    def told() -> float:
        return samples()["circuits_injected", name]

    succeed(name)
    assert told() == 0
    circuits.get(name).inject(failures=0.5)
    assert told() == 1
    settings.CIRCUITS = {**settings.CIRCUITS, "ALLOW_INJECTION": False}
    assert told() == 0
    settings.CIRCUITS = {**settings.CIRCUITS, "ALLOW_INJECTION": True}
    Circuit.objects.update(injected_until=timezone.now() - timedelta(seconds=1))
    assert told() == 0


def test_a_scrape_is_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    CircuitFactory.create_batch(20)
    with django_assert_num_queries(1, connection=connections["circuits"]):
        metrics.page("")


def test_of_too_many_circuits_it_says_how_many_are_left_out(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "METRICS_CIRCUITS": 3}
    CircuitFactory.create_batch(3)
    assert samples()["circuits_left_out",] == 0
    CircuitFactory.create_batch(7)
    CircuitFactory.create(name="zebra", opened=True)
    found = samples()
    assert found["circuits_left_out",] == 8
    told = {key[1] for key in found if key[0] == "circuits_state"}
    assert len(told) == 3
    assert "zebra" in told
    assert {key[1] for key in found if key[0] == "circuits_mode"} == told


def labelled() -> set[str]:
    """Return the circuits that this process has counted by name so far."""
    return {each.name for each in counts.read()} - {counts.OTHERS}


def test_a_flood_of_names_is_counted_together(settings: Settings, name: str) -> None:
    """Made-up names do not take up room for ever, neither in a process nor in a scrape."""
    room = len(labelled()) + 2
    settings.CIRCUITS = {**settings.CIRCUITS, "METRICS_CIRCUITS": room}
    before = calls(counts.OTHERS).get("success", 0)
    for each in ("one", "two", "three", "four", "one"):
        succeed(f"{name} {each}")
    assert [calls(f"{name} {each}") for each in ("one", "two", "three", "four")] == [
        {"success": 2},
        {"success": 1},
        {},
        {},
    ]
    assert calls(counts.OTHERS)["success"] == before + 2


def test_without_the_database_the_rest_is_told(name: str) -> None:
    def fails(*args: Any) -> None:
        raise OperationalError("the server is gone")

    succeed(name)
    with connections["circuits"].execute_wrapper(fails):
        found = samples()
    assert found["circuits_database_up",] == 0
    assert found["circuits_calls_total", name, "success"] == 1
    assert not [key for key in found if key[0] == "circuits_state"]


def test_a_name_may_hold_anything(name: str) -> None:
    odd = f'{name} "\\" é ☃'
    succeed(odd)
    assert calls(odd) == {"success": 1}
    assert samples()["circuits_state", odd, "closed"] == 1


def test_no_url_is_a_label(remote: str, name: str) -> None:
    with pytest.raises(circuits.RemoteCallFailedException):
        circuits.call(name, f"{remote}/faulty?key=s3cret")
    content, _content_type = metrics.page("")
    assert calls(name) == {"failure": 1}
    assert b"s3cret" not in content
    assert remote.encode() not in content


def test_the_docs_name_each_metric_with_its_labels(name: str) -> None:
    succeed(name)
    circuits.get(name).force_open()
    succeed(f"{name} good")
    page = (Path(__file__).parents[3] / "docs" / "observability.md").read_text()
    documented = {
        cells[1].strip(" `"): set(re.findall(r"`(\w+)`", cells[2]))
        for cells in (line.split("|") for line in page.splitlines() if "| `circuits_" in line)
    }
    content, _content_type = metrics.page("")
    told = {
        sample.name.removesuffix("_count"): set(sample.labels)
        for family in text_string_to_metric_families(content.decode())
        for sample in family.samples
        if sample.name.startswith("circuits_")
        and not sample.name.endswith(("_bucket", "_sum", "_created"))
    }
    assert documented == told


def test_both_formats() -> None:
    assert metrics.page("")[1].startswith("text/plain")
    content, content_type = metrics.page("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert content.endswith(b"# EOF\n")


def test_disconnected_it_counts_no_more(name: str) -> None:
    succeed(name)
    metrics.disconnect()
    runtime.forget()
    for _ in range(5):
        fail(name)
    assert calls(name) == {"success": 1}
    assert transitions(name) == {}


def test_the_page(client: Client, settings: Settings, name: str) -> None:
    token = {"Authorization": "Bearer s3cret"}
    settings.CIRCUITS = {**settings.CIRCUITS, "HEALTH_TOKEN": "s3cret"}
    assert client.get("/circuits/metrics/", headers=token).status_code == 404
    settings.CIRCUITS = {**settings.CIRCUITS, "PROMETHEUS": True}
    succeed(name)
    answer = client.get("/circuits/metrics/", headers=token)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    assert answer["Cache-Control"] == "no-store"
    expected = f'circuits_calls_total{{circuit="{name}",outcome="success"}} 1.0\n'
    assert expected in answer.content.decode()


def test_several_processes_count_together(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    results = in_processes(2, "measure", name=name, count=40)
    made, refused = (sum(result[key] for result in results) for key in ("made", "refused"))
    assert made + refused == 80
    assert made >= 5
    # This process has counted nothing itself; it reads the files of the other two.
    assert REGISTRY.get_sample_value("circuits_calls_total", {"circuit": name}) is None
    found = samples()
    assert calls(name) == {"failure": made, "refused": refused}
    assert calls(f"{name} good") == {"success": 80}
    assert transitions(name) == {("closed", "open"): 1}
    assert found["circuits_call_duration_seconds_count", f"{name} good"] == 80
    assert found["circuits_call_duration_seconds_bucket", f"{name} good", "+Inf"] == 80
    assert found["circuits_state", name, "open"] == 1
    assert found["circuits_database_up",] == 1


def test_nothing_is_lost_over_forks_and_ends_and_scrapes_meanwhile(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metrics are compared with what the processes counted themselves."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    CircuitFactory.create(name=name, mode=Mode.FORCED_CLOSED)
    expected: Counter[str] = Counter()
    seen = 0.0
    for _ in range(2):  # a reload: new processes take the place of the old ones
        workers = [start_worker("measure_with_children", name=name, count=100) for _ in range(2)]
        let_go(*workers)
        while any(worker.poll() is None for worker in workers):
            # prometheus_client cannot read a file that another process is just making.
            with suppress(struct.error):
                now = sum(calls(name).values())
                assert now >= seen
                seen = now
        for worker in workers:
            expected.update(result_of(worker))
    assert calls(name) == expected
    made = sum(expected[each] for each in ("success", "failure", "ignored"))
    found = samples()
    assert made == 2 * 2 * 2 * 100
    assert found["circuits_call_duration_seconds_count", name] == made
    buckets = [
        value
        for key, value in found.items()
        if key[:2] == ("circuits_call_duration_seconds_bucket", name)
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == made
    assert 0 < found["circuits_call_duration_seconds_sum", name] < made


def test_a_circuit_that_makes_room_for_others_is_counted_on(settings: Settings, name: str) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "MAX_SNAPSHOTS": 2}
    for _ in range(3):
        for number in range(5):
            succeed(f"{name} {number}")
        runtime.flush()
    assert [calls(f"{name} {number}") for number in range(5)] == [{"success": 3}] * 5


def test_a_call_that_ends_after_its_circuit_was_forgotten_is_counted(name: str) -> None:
    with circuits.guard(name):
        runtime.forget()
    succeed(name)
    assert calls(name) == {"success": 2}


def test_threads_lose_nothing(name: str) -> None:
    def work(index: int) -> None:
        for _ in range(500):
            succeed(name)
        metrics.page("")

    with switching_often():
        in_threads(4, work)
    found = samples()
    assert calls(name) == {"success": 2_000}
    assert found["circuits_call_duration_seconds_count", name] == 2_000
