"""Refusals in views of Django REST framework, where it is installed."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import path
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.views import APIView

import circuits
from circuits import drf, gate
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
def connected() -> Iterator[None]:
    before = dict(gate.refusals)
    drf.connect()
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
    with pytest.raises(circuits.CircuitOpenError, match=r"^Retry after \d+\.\d\d secs$") as no:
        breaker_admits("rates")
    assert isinstance(no.value, APIException)
    copy = pickle.loads(pickle.dumps(no.value))
    assert (copy.name, copy.retry_after) == (no.value.name, no.value.retry_after)


def test_a_busy_refusal_too() -> None:
    CircuitFactory.create(name="rates", max_concurrent=1)
    with circuits.guard("rates"), pytest.raises(circuits.CircuitBusyError) as no:
        breaker_admits("rates")
    assert isinstance(no.value, APIException)
    assert no.value.wait == 1


def breaker_admits(name: str) -> None:
    with circuits.guard(name):
        pass


def test_without_the_framework_in_the_site_nothing_of_it_is_used() -> None:
    from django.apps import apps

    assert not apps.is_installed("rest_framework")
    assert not issubclass(circuits.CircuitOpenError, APIException)
