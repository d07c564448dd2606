"""The example views against the mock remote, over real HTTP."""

import pytest
from django.test import AsyncClient, Client
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "circuits"])


@pytest.fixture(autouse=True)
def remote(live_server: LiveServer, settings: Settings) -> None:
    settings.REMOTE_URL = live_server.url


def test_a_good_answer_is_relayed(client: Client) -> None:
    response = client.get("/examples/success")
    assert response.status_code == 200
    assert response.json()["remote_status"] == 200
    assert response.json()["remote_answer"]["status"] == "ok"


def test_a_failed_call_is_a_bad_gateway(client: Client) -> None:
    response = client.get("/examples/faulty")
    assert response.status_code == 502
    assert response.json()["error"]


def test_an_open_circuit_is_unavailable_and_says_when_to_retry(client: Client) -> None:
    answers = [client.get("/examples/faulty").status_code for _ in range(5)]
    assert answers == [502] * 5
    response = client.get("/examples/success")
    assert response.status_code == 503
    assert 1 <= int(response.headers["Retry-After"]) <= 10


def test_only_the_named_endpoints_are_called(client: Client) -> None:
    assert client.get("/examples/stats").status_code == 404
    assert client.get("/examples/async/stats").status_code == 404


async def test_async_a_good_answer_is_relayed(async_client: AsyncClient) -> None:
    response = await async_client.get("/examples/async/success")
    assert response.status_code == 200
    assert response.json()["remote_answer"]["status"] == "ok"


async def test_async_a_failed_call_is_a_bad_gateway(async_client: AsyncClient) -> None:
    response = await async_client.get("/examples/async/faulty")
    assert response.status_code == 502


async def test_async_an_open_circuit_is_unavailable(async_client: AsyncClient) -> None:
    for _ in range(5):
        await async_client.get("/examples/async/faulty")
    response = await async_client.get("/examples/async/success")
    assert response.status_code == 503
    assert 1 <= int(response.headers["Retry-After"]) <= 10
