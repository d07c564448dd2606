from http import HTTPStatus

import pytest
from django.db import DEFAULT_DB_ALIAS, connections
from django.test import Client

from mockapi import chance

from .threads import run_in_threads

pytestmark = pytest.mark.urls("mockapi.urls")

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@pytest.fixture
def client() -> Client:
    """A test client like a program: CSRF checks are on, and it has no token."""
    return Client(enforce_csrf_checks=True)


def hits(client: Client) -> dict[str, int]:
    counted: dict[str, int] = client.get("/stats").json()["hits"]
    return counted


def outcomes(client: Client, address: str, calls: int = 20) -> list[int]:
    return [client.get(address).status_code for _ in range(calls)]


def test_success(client: Client) -> None:
    response = client.get("/success")

    assert response.status_code == HTTPStatus.OK
    assert response.json() == {"status": "ok", "method": "GET"}


def test_faulty(client: Client) -> None:
    response = client.get("/faulty")

    assert response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert response.json() == {"status": "error", "error": "This endpoint always fails."}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("address", "status"),
    [("/success", 200), ("/faulty", 500), ("/slow", 200), ("/flaky?rate=0", 200)],
)
def test_remote_endpoints_take_any_method(
    client: Client, method: str, address: str, status: int
) -> None:
    assert client.generic(method, address).status_code == status


def test_answer_names_the_method(client: Client) -> None:
    assert client.post("/success").json()["method"] == "POST"


@pytest.mark.parametrize(
    ("address", "seconds"),
    [
        ("/slow", 1),
        ("/slow?seconds=0", 0),
        ("/slow?seconds=2.5", 2.5),
        ("/slow?seconds=30", 30),
    ],
)
def test_slow_sleeps(client: Client, sleeps: list[float], address: str, seconds: float) -> None:
    response = client.get(address)

    assert response.status_code == HTTPStatus.OK
    assert response.json() == {"status": "ok", "method": "GET", "seconds": seconds}
    assert sleeps == [seconds]


@pytest.mark.parametrize("seconds", ["", "soon", "nan", "inf", "-inf", "-1", "30.1", "1e999"])
def test_slow_refuses_bad_seconds(client: Client, sleeps: list[float], seconds: str) -> None:
    response = client.get("/slow", {"seconds": seconds})

    assert response.status_code == HTTPStatus.BAD_REQUEST
    assert response.json() == {
        "error": "seconds must be a number from 0 to 30, for example seconds=1."
    }
    assert sleeps == []


def test_flaky_never_fails_at_rate_0(client: Client) -> None:
    assert set(outcomes(client, "/flaky?rate=0")) == {200}


def test_flaky_always_fails_at_rate_1(client: Client) -> None:
    assert set(outcomes(client, "/flaky?rate=1")) == {500}
    assert client.get("/flaky?rate=1").json() == {
        "status": "error",
        "error": "This call failed by chance.",
    }


@pytest.mark.parametrize(
    ("address", "drawn", "status"),
    [
        ("/flaky", 0.49, 500),
        ("/flaky", 0.5, 200),
        ("/flaky?rate=0.1", 0.09, 500),
        ("/flaky?rate=0.1", 0.1, 200),
        ("/flaky?rate=0", 0.0, 200),
    ],
)
def test_flaky_fails_with_the_given_rate(
    client: Client, monkeypatch: pytest.MonkeyPatch, address: str, drawn: float, status: int
) -> None:
    monkeypatch.setattr("mockapi.chance.random.random", lambda: drawn)

    assert client.get(address).status_code == status


def test_flaky_repeats_its_outcomes_for_a_seed(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = outcomes(client, "/flaky?seed=demo")
    monkeypatch.setattr(chance, "seeded_draws", chance.SeededDraws())  # as after a restart
    again = outcomes(client, "/flaky?seed=demo")

    assert first == again
    assert set(first) == {200, 500}


def test_flaky_differs_between_seeds(client: Client) -> None:
    assert outcomes(client, "/flaky?seed=a") != outcomes(client, "/flaky?seed=b")


@pytest.mark.parametrize("rate", ["", "often", "nan", "inf", "-0.1", "1.01"])
def test_flaky_refuses_a_bad_rate(client: Client, rate: str) -> None:
    response = client.get("/flaky", {"rate": rate})

    assert response.status_code == HTTPStatus.BAD_REQUEST
    assert response.json() == {"error": "rate must be a number from 0 to 1, for example rate=0.5."}


@pytest.mark.parametrize("seed", ["", "x" * 101])
def test_flaky_refuses_a_bad_seed(client: Client, seed: str) -> None:
    response = client.get("/flaky", {"seed": seed})

    assert response.status_code == HTTPStatus.BAD_REQUEST
    assert response.json() == {
        "error": "seed must have 1 to 100 characters; leave it out for random outcomes."
    }


def test_flaky_takes_a_seed_of_any_100_characters(client: Client) -> None:
    assert client.get("/flaky", {"seed": "ü" * 100, "rate": "0"}).status_code == HTTPStatus.OK


def test_a_refused_call_does_not_use_up_a_turn_of_the_seed(client: Client) -> None:
    unused = chance.SeededDraws()

    client.get("/flaky?seed=a&rate=2")

    assert chance.draw("a") == unused.draw("a")


def test_health(client: Client) -> None:
    response = client.get("/health")

    assert response.status_code == HTTPStatus.OK
    assert response.json() == {"status": "ok"}


def test_stats_list_every_endpoint_from_the_start(client: Client) -> None:
    assert client.get("/stats").json() == {
        "hits": {"success": 0, "faulty": 0, "slow": 0, "flaky": 0}
    }


def test_stats_count_the_hits_of_each_endpoint(client: Client) -> None:
    for address in ["/success", "/faulty", "/faulty", "/slow", "/flaky", "/health", "/stats"]:
        client.get(address)

    assert hits(client) == {"success": 1, "faulty": 2, "slow": 1, "flaky": 1}


def test_stats_count_refused_requests_too(client: Client) -> None:
    client.get("/slow?seconds=x")
    client.get("/flaky?rate=x")

    assert hits(client) == {"success": 0, "faulty": 0, "slow": 1, "flaky": 1}


def test_stats_reset(client: Client) -> None:
    client.get("/success")
    response = client.post("/stats/reset")

    assert response.status_code == HTTPStatus.OK
    assert response.json() == {"hits": {"success": 0, "faulty": 0, "slow": 0, "flaky": 0}}
    assert hits(client) == response.json()["hits"]


def test_stats_are_exact_under_many_threads() -> None:
    run_in_threads(lambda: Client().get("/success"), times=200)

    assert hits(Client())["success"] == 200


@pytest.mark.parametrize("address", ["/health", "/stats"])
def test_reading_endpoints_take_only_get_and_head(address: str) -> None:
    # Without CSRF checks, which would refuse the other methods before the view could.
    client = Client()

    assert client.head(address).status_code == HTTPStatus.OK
    for method in set(METHODS) - {"GET", "HEAD"}:
        assert client.generic(method, address).status_code == HTTPStatus.METHOD_NOT_ALLOWED


def test_reset_takes_only_post(client: Client) -> None:
    client.get("/success")

    for method in set(METHODS) - {"POST"}:
        assert client.generic(method, "/stats/reset").status_code == HTTPStatus.METHOD_NOT_ALLOWED
    assert hits(client)["success"] == 1


@pytest.mark.parametrize("address", ["/success/", "/stats/reset/", "/nowhere"])
def test_other_addresses_are_not_found(client: Client, address: str) -> None:
    assert client.get(address).status_code == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("address", ["/success", "/faulty", "/slow", "/flaky", "/health", "/stats"])
def test_no_endpoint_takes_a_transaction(
    client: Client, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    # This test may not use the database, so a transaction would be an error.
    monkeypatch.setitem(connections.settings[DEFAULT_DB_ALIAS], "ATOMIC_REQUESTS", True)

    client.get(address)


def test_reset_takes_no_transaction(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.settings[DEFAULT_DB_ALIAS], "ATOMIC_REQUESTS", True)

    client.post("/stats/reset")
