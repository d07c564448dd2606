"""The example views against the mock remote, over real HTTP."""

import pytest
from django.test import AsyncClient, Client
from pytest_django import Settings

pytestmark = pytest.mark.usefixtures("committed", "remote_is_the_mock")


@pytest.fixture
def remote_is_the_mock(remote: str, settings: Settings) -> None:
    settings.REMOTE_URL = remote


def test_a_good_answer_is_relayed(client: Client) -> None:
    response = client.get("/examples/success")
    assert response.status_code == 200
    assert response.json()["remote_status"] == 200
    assert response.json()["remote_answer"]["status"] == "ok"


def test_a_failed_call_is_a_bad_gateway(client: Client) -> None:
    response = client.get("/examples/faulty")
    assert response.status_code == 502
    assert "HTTP 500" in response.json()["error"]


def test_an_open_circuit_is_unavailable_and_says_when_to_retry(client: Client) -> None:
    answers = [client.get("/examples/faulty").status_code for _ in range(5)]
    assert answers == [502] * 5
    response = client.get("/examples/success")
    assert response.status_code == 503
    assert 1 <= int(response.headers["Retry-After"]) <= 10


@pytest.mark.parametrize("path", ["/examples/stats", "/examples/async/stats", "/examples/"])
def test_only_the_named_endpoints_are_called(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


async def test_async_a_good_answer_is_relayed(async_client: AsyncClient) -> None:
    response = await async_client.get("/examples/async/success")
    assert response.status_code == 200
    assert response.json()["remote_answer"]["status"] == "ok"


async def test_async_a_failed_call_is_a_bad_gateway(async_client: AsyncClient) -> None:
    response = await async_client.get("/examples/async/faulty")
    assert response.status_code == 502
    assert "HTTP 500" in response.json()["error"]


async def test_async_an_open_circuit_is_unavailable(async_client: AsyncClient) -> None:
    answers = [(await async_client.get("/examples/async/faulty")).status_code for _ in range(5)]
    assert answers == [502] * 5
    response = await async_client.get("/examples/async/success")
    assert response.status_code == 503
    assert 1 <= int(response.headers["Retry-After"]) <= 10
