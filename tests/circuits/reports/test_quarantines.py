"""A process in quarantine is reported wherever people and programs look."""

from __future__ import annotations

import logging
import re

import pytest
from django.test import Client
from django.urls import reverse

from circuits.integrations import metrics
from circuits.models import Circuit
from circuits.process import asking, diagnosis, identity, results
from circuits.process.gate import Gate
from circuits.reports import health
from circuits.storage.database import DatabaseStore
from tests.factories import CircuitFactory

LONG_AGO, SOON = 1.0, 4_000_000_000.0


def alone(name: str = "payments", until: float = SOON, tries: int = 1) -> Circuit:
    """Make a circuit whose remote only worker 4711 on web-3 cannot reach."""
    entry = ["web-3:4711:9f3a01c2", LONG_AGO, until, tries, ""]
    return CircuitFactory.create(name=name, quarantines=[entry])


@pytest.mark.usefixtures("committed")
def test_the_health_page_names_it_and_calls_nothing_degraded() -> None:
    alone()
    CircuitFactory(name="well")
    found = health.report(with_errors=False)
    assert found["status"] == "ok"
    (entry,) = found["circuits"]
    ((told),) = entry["alone"]
    assert (entry["name"], told["host"], told["pid"]) == ("payments", "web-3", "4711")
    assert told["retry_in"] > 0


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize(("until", "tries"), [(LONG_AGO, 1), (SOON, 0)])
def test_one_that_is_gone_or_has_yet_to_try_is_not_told(until: float, tries: int) -> None:
    alone(until=until, tries=tries)
    (entry,) = health.report(with_errors=False)["circuits"]
    assert "alone" not in entry
    assert _told_to_prometheus() == {"payments": 0}


@pytest.mark.usefixtures("committed")
def test_prometheus_is_told_how_many_there_are() -> None:
    alone()
    CircuitFactory(name="well")
    assert _told_to_prometheus() == {"payments": 1, "well": 0}


def _told_to_prometheus() -> dict[str, float]:
    families = {family.name: family for family in metrics.SHARED_STATE.collect()}
    samples = families["circuits_processes_alone"].samples
    return {sample.labels["circuit"]: sample.value for sample in samples}


@pytest.mark.django_db(databases=["default", "circuits"])
def test_the_page_of_the_circuit_says_which(admin_client: Client) -> None:
    page = reverse("admin:circuits_circuit_change", args=[alone().pk])
    said = "worker 4711 on web-3 alone cannot reach payments; the others can"
    assert said in admin_client.get(page).content.decode()


def process(name: str = "payments") -> Gate:
    return Gate(name, DatabaseStore())


@pytest.mark.usefixtures("committed")
def test_the_log_says_once_that_it_begins_and_that_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "circuits")
    one, other = process(), process()
    late = asking.admit(one)
    for _ in range(5):
        results.fail(asking.admit(one), "no route to host")
        results.succeed(asking.admit(other))
        other.take(other.store.read("payments"))
        results.succeed(asking.admit(other))
    for _ in range(2):
        one.take(one.store.read("payments"))
    results.succeed(late)
    said = [record.getMessage() for record in caplog.records if one.process in record.getMessage()]
    assert said == [
        f"The process {one.process} alone cannot reach payments; the others can. "
        "It tries by itself.",
        f"The process {one.process} is with the others again (payments)",
    ]


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize(("failing", "says"), [(1, 0), (2, 1), (3, 1)])
def test_where_most_circuits_fail_for_one_process_it_says_once_to_look_at_the_host(
    caplog: pytest.LogCaptureFixture, failing: int, says: int
) -> None:
    diagnosis.forget()
    gates = [process(name) for name in ("a", "b", "c")]
    for index, gate in enumerate(gates):
        results.succeed(asking.admit(gate))
        for _ in range(5 * (index < failing)):
            results.fail(asking.admit(gate), "no route to host")
    for _ in range(2):
        diagnosis.notice(gates)
    said = [line for line in caplog.messages if "look at this host" in line]
    assert len(said) == says
    host = f"{failing} of the 3 circuits that the process {identity.own()} uses fail for it"
    assert all(line.startswith(f"{host}, such as a: look at") for line in said)
    diagnosis.forget()


@pytest.mark.usefixtures("committed")
def test_where_half_of_the_circuits_fail_the_host_is_not_the_cause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    diagnosis.forget()
    gates = [process(name) for name in ("a", "b", "c", "d")]
    for gate in gates:
        results.succeed(asking.admit(gate))
    for gate in gates[:2]:
        for _ in range(5):
            results.fail(asking.admit(gate), "no route to host")
    diagnosis.notice(gates)
    assert not [line for line in caplog.messages if "look at this host" in line]


# The id of a process -----------------------------------------------------------------------------


def test_the_id_names_host_and_process_and_is_another_after_a_fork() -> None:
    mine = identity.own()
    assert re.fullmatch(r"[\w.-]+:\d+:[0-9a-f]{8}", mine)
    assert identity.own() == mine
    identity.forget()  # what a forked child does first
    assert identity.own() != mine
    assert identity.parts("web-3:4711:9f3a01c2") == ("web-3", "4711")


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("web-3", "web-3"),
        ("web-3.internal.example", "web-3"),
        ("10.0.0.7", "host"),
        ("ip-10-0-0-7.ec2.internal", "host"),
        ("fe80::1", "host"),
        ("", "host"),
        ("x" * 99, "x" * 60),
    ],
)
def test_an_address_of_the_host_is_not_told(host: str, told: str) -> None:
    assert identity.host_of(host) == told
