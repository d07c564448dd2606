"""Sync calls inside a running event loop: answered from memory, and settled by a thread."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
import requests
from django.core.exceptions import SynchronousOnlyOperation
from pytest_django import Settings

import circuits
from circuits.models import Circuit
from circuits.process.threads import in_thread
from tests.concurrency import wait_until
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")

Get = Callable[[str], Any]


@pytest.fixture(autouse=True)
def _long_known(settings: Settings) -> None:
    """Let snapshots stay fresh for longer than any test takes."""
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 60}


def by_call(url: str) -> Any:
    return circuits.call("payments", url)


def by_adapter(url: str) -> Any:
    with requests.Session() as session:
        session.mount("http://", circuits.CircuitAdapter("payments"))
        return session.get(url, timeout=5)


def by_transport(url: str) -> Any:
    with httpx.Client(transport=circuits.CircuitTransport(name="payments")) as client:
        return client.get(url)


ways = pytest.mark.parametrize("get", [by_call, by_adapter, by_transport])


def row() -> Any:
    return Circuit.objects.get(name="payments")


async def until(holds: Callable[[Any], bool]) -> None:
    await in_thread(lambda: wait_until(lambda: holds(row())))


async def known(**policy: Any) -> None:
    """Make the circuit, and have this process know it."""
    await in_thread(lambda: CircuitFactory(name="payments", **policy))
    async with circuits.guard("payments"):
        pass


@ways
async def test_an_answer_comes_back(get: Get, remote: str) -> None:
    await known()
    assert get(f"{remote}/success").status_code == 200


@ways
async def test_a_success_ends_a_run(get: Get, remote: str) -> None:
    await known(failure_count=1)
    with suppress(ConnectionError):
        async with circuits.guard("payments"):
            raise ConnectionError
    get(f"{remote}/success")
    await until(lambda row: row.failure_count == 0)


@ways
async def test_a_failure_counts(get: Get, remote: str) -> None:
    await known(threshold=1)
    with suppress(circuits.RemoteCallFailedException):
        get(f"{remote}/faulty")
    await until(lambda row: row.state == "open")
    assert (await in_thread(row)).total_failures == 1


@ways
async def test_an_exception_of_the_way_there_goes_through(get: Get) -> None:
    await known(threshold=1)
    with pytest.raises(
        (circuits.RemoteCallFailedException, requests.ConnectionError, httpx.ConnectError)
    ):
        get("http://127.0.0.1:9/")
    await until(lambda row: row.state == "open")


@ways
async def test_what_only_the_database_knows_is_said_at_the_entry(get: Get, remote: str) -> None:
    with pytest.raises(SynchronousOnlyOperation, match="The circuit payments must ask"):
        get(f"{remote}/success")
