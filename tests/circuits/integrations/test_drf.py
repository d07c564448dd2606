"""Refusals in views of Django REST framework, if it is installed."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import requests
from django.test import Client
from django.urls import path
from pytest_django import Settings
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.views import APIView

import circuits
from circuits.integrations import setup
from circuits.process import gate
from tests.calls import under_way
from tests.factories import CircuitFactory

pytestmark = [pytest.mark.usefixtures("committed"), pytest.mark.urls(__name__)]


class Rates(APIView):  # type: ignore[misc]
    authentication_classes = ()
    permission_classes = ()
    renderer_classes = (JSONRenderer,)

    def get(self, request: Any) -> Any:
        with circuits.guard("rates"):
            raise AssertionError("it must not be called")


urlpatterns = [path("rates/", Rates.as_view())]


@pytest.fixture(autouse=True)
def started(settings: Settings) -> Iterator[None]:
    """Start a site that has the framework."""
    before = dict(gate.refusals)
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "rest_framework"]
    setup.connect()
    yield
    gate.refusals.update(before)


def test_a_refusal_is_answered_by_the_frameworks_own_handler(client: Client) -> None:
    CircuitFactory.create(name="rates", opened=True)
    answer = client.get("/rates/")
    assert answer.status_code == 503
    assert 50 < int(answer["Retry-After"]) <= 60
    assert answer.json() == {"detail": "This service is not available for the moment."}


def test_a_refusal_is_still_what_it_was() -> None:
    CircuitFactory.create(name="rates", opened=True)
    with pytest.raises(circuits.CircuitOpenError, match=r"(?m)^Retry after \d+\.\d\d secs$") as no:
        breaker_admits("rates")
    assert isinstance(no.value, APIException)
    copy = pickle.loads(pickle.dumps(no.value))
    assert (copy.name, copy.retry_after) == (no.value.name, no.value.retry_after)


def test_a_busy_refusal_too() -> None:
    CircuitFactory.create(name="rates", max_concurrent=1)
    with under_way("rates"), pytest.raises(circuits.CircuitBusyError) as no:
        breaker_admits("rates")
    assert isinstance(no.value, APIException)
    assert no.value.wait == 1


def breaker_admits(name: str) -> None:
    with circuits.guard(name):
        pass


@pytest.mark.parametrize(("seconds", "wait"), [(0.0, 1), (0.2, 1), (8.0, 8), (8.01, 9)])
def test_a_client_that_comes_back_when_told_does_not_come_too_early(
    seconds: float, wait: int
) -> None:
    for kind in gate.refusals.values():
        error: Any = kind("rates", seconds)
        assert error.wait == wait


def test_what_a_clients_library_raises_is_an_answer_too_and_comes_through_pickle() -> None:
    CircuitFactory.create(name="rates", opened=True)
    with requests.Session() as session:
        session.mount("http://", circuits.CircuitAdapter("rates"))
        with pytest.raises(requests.ConnectionError) as by_requests:
            session.get("http://127.0.0.1:9/")
    with (
        httpx.Client(transport=circuits.CircuitTransport(name="rates")) as httpx_client,
        pytest.raises(httpx.ConnectError) as by_httpx,
    ):
        httpx_client.get("http://127.0.0.1:9/")
    for error in (by_requests.value, by_httpx.value):
        assert isinstance(error, APIException)
        assert isinstance(error, circuits.CircuitOpenError)
        assert re.fullmatch(r"Retry after (5\d|60)\.\d\d secs", str(error))
        back = pickle.loads(pickle.dumps(error))
        assert isinstance(back, circuits.CircuitOpenError)
        assert (type(back).__name__, back.args) == (type(error).__name__, error.args)
        assert type(error).__mro__[1] is type(back)


def test_without_the_framework_in_the_site_nothing_of_it_is_used(settings: Settings) -> None:
    gate.refusals.update(open=circuits.CircuitOpenError, busy=circuits.CircuitBusyError)
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS[:-1]]
    setup.connect()
    CircuitFactory.create(name="rates", opened=True)
    with pytest.raises(circuits.CircuitOpenError) as no:
        breaker_admits("rates")
    assert type(no.value) is circuits.CircuitOpenError
