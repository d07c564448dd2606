"""The responses that a site's visitors get while a circuit is open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from pytest_django import Settings

import circuits
from circuits.process.threads import in_thread
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed", "urls")

SECONDS = [("0", "1"), ("0.2", "1"), ("1", "1"), ("8.69", "9"), ("10", "10")]

ERRORS: dict[str, Exception] = {
    "failed": circuits.RemoteCallFailedException("The call failed.", "secret-circuit"),
    "other": ValueError("no refusal"),
}


@pytest.fixture
def urls(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__


def call(request: HttpRequest) -> HttpResponse:
    with circuits.guard("secret-circuit"):
        return HttpResponse("well")


@non_atomic_requests  # Django cannot wrap an async view in a transaction
async def acall(request: HttpRequest) -> HttpResponse:
    async with circuits.guard("secret-circuit"):
        return HttpResponse("well")


def refused(request: HttpRequest) -> HttpResponse:
    raise circuits.CircuitOpenError("secret-circuit", float(request.GET["seconds"]))


@non_atomic_requests
async def arefused(request: HttpRequest) -> HttpResponse:
    raise circuits.CircuitOpenError("secret-circuit", float(request.GET["seconds"]))


def raises(request: HttpRequest) -> HttpResponse:
    raise ERRORS[request.GET["error"]]


@non_atomic_requests
async def araises(request: HttpRequest) -> HttpResponse:
    raise ERRORS[request.GET["error"]]


urlpatterns = [
    path(function.__name__, function)
    for function in (call, acall, refused, arefused, raises, araises)
]


def assert_unavailable(response: Any, seconds: str) -> None:
    assert response.status_code == 503
    assert response.headers["Retry-After"] == seconds
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


def assert_discloses_nothing(response: Any) -> None:
    told = [response.content.decode(), *response.headers.values()]
    assert not [text for text in told if "secret-circuit" in text]


def test_a_healthy_circuit_is_not_noticed(client: Client) -> None:
    assert client.get("/call").content == b"well"


async def test_async_a_healthy_circuit_is_not_noticed(async_client: AsyncClient) -> None:
    assert (await async_client.get("/acall")).content == b"well"


def test_an_open_circuit_is_a_503_that_does_not_name_it(client: Client) -> None:
    CircuitFactory(name="secret-circuit", opened=True)
    response = client.get("/call")
    assert_unavailable(response, "60")
    assert_discloses_nothing(response)


async def test_async_an_open_circuit_is_a_503_that_does_not_name_it(
    async_client: AsyncClient,
) -> None:
    await in_thread(lambda: CircuitFactory(name="secret-circuit", opened=True))
    response = await async_client.get("/acall")
    assert_unavailable(response, "60")
    assert_discloses_nothing(response)


@pytest.mark.parametrize(("retry_after", "seconds"), SECONDS)
def test_the_seconds_are_rounded_up_to_whole_ones(
    client: Client, retry_after: str, seconds: str
) -> None:
    assert_unavailable(client.get("/refused", {"seconds": retry_after}), seconds)


@pytest.mark.parametrize(("retry_after", "seconds"), SECONDS)
async def test_async_the_seconds_are_rounded_up_to_whole_ones(
    async_client: AsyncClient, retry_after: str, seconds: str
) -> None:
    assert_unavailable(await async_client.get("/arefused", {"seconds": retry_after}), seconds)


def test_the_sentence_counts_rightly(client: Client) -> None:
    one = client.get("/refused", {"seconds": 1}).content.decode()
    two = client.get("/refused", {"seconds": 2}).content.decode()
    assert one.endswith("Try again in 1 second.")
    assert two.endswith("Try again in 2 seconds.")


@pytest.mark.parametrize("error", ERRORS)
def test_other_exceptions_are_left_alone(client: Client, error: str) -> None:
    with pytest.raises(type(ERRORS[error])):
        client.get("/raises", {"error": error})
    client.raise_request_exception = False
    response = client.get("/raises", {"error": error})
    assert response.status_code == 500
    assert "Retry-After" not in response.headers


@pytest.mark.parametrize("error", ERRORS)
async def test_async_other_exceptions_are_left_alone(async_client: AsyncClient, error: str) -> None:
    async_client.raise_request_exception = False
    response = await async_client.get("/araises", {"error": error})
    assert response.status_code == 500
    assert "Retry-After" not in response.headers


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def test_a_browser_gets_a_page(client: Client) -> None:
    response = client.get("/refused?seconds=8.69", headers={"accept": BROWSER})
    assert (response.status_code, response.headers["Retry-After"]) == (503, "9")
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Accept" in response.headers["Vary"].split(", ")
    assert "<h1>Not available</h1>" in response.content.decode()
    assert "Try again in 9 seconds." in response.content.decode()
    assert_discloses_nothing(response)


def test_who_asks_for_json_gets_json(client: Client) -> None:
    response = client.get("/refused?seconds=8.69", headers={"accept": "application/json"})
    assert response.status_code == 503
    assert response.json()["retry_after"] == 9
    assert "Try again in 9 seconds." in response.json()["detail"]


def test_a_site_has_its_own_page(client: Client, settings: Settings, tmp_path: Path) -> None:
    override_template(settings, tmp_path, "<p>Back in {{ retry_after }} s</p>")
    response = client.get("/refused?seconds=8.69", headers={"accept": BROWSER})
    assert response.content == b"<p>Back in 9 s</p>"


def test_a_broken_page_is_still_a_503(
    client: Client, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    override_template(settings, tmp_path, "{% nonsense %}")
    response = client.get("/refused?seconds=8.69", headers={"accept": BROWSER})
    assert response.status_code == 503
    assert "Try again in 9 seconds." in response.content.decode()
    assert "Could not render circuits/unavailable.html." in caplog.text


def override_template(settings: Settings, folder: Path, text: str) -> None:
    (folder / "circuits").mkdir()
    (folder / "circuits" / "unavailable.html").write_text(text)
    [engine] = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "DIRS": [str(folder)]}]


# Several exceptions at once

REFUSAL = circuits.CircuitOpenError("secret-circuit", 3.0)
LATER = circuits.CircuitOpenError("another", 7.0)

GROUPS = {
    "a refusal": (ExceptionGroup("", [REFUSAL]), 503),
    "nested": (ExceptionGroup("", [ExceptionGroup("", [REFUSAL]), LATER]), 503),
    "with a failed call": (ExceptionGroup("", [REFUSAL, LATER, ERRORS["failed"]]), 503),
    "with an error of the site": (ExceptionGroup("", [REFUSAL, LATER, ValueError("a bug")]), 500),
    "without a refusal": (ExceptionGroup("", [ERRORS["failed"]]), 500),
}


@pytest.mark.parametrize("what", GROUPS)
def test_a_group_is_answered_by_its_leaves(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    group, status = GROUPS[what]
    monkeypatch.setitem(ERRORS, "group", group)
    answer = Client(raise_request_exception=False).get("/raises?error=group")
    seconds = {"a refusal": "3", "nested": "7", "with a failed call": "7"}
    assert (answer.status_code, answer.get("Retry-After")) == (status, seconds.get(what))
