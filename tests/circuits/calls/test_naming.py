"""The names of circuits that are derived from requests and functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import requests
from requests.adapters import BaseAdapter

import circuits
from circuits.calls.naming import check_naming, name_of
from circuits.models import Circuit
from circuits.validation import check_name

HOSTS = [f"{'a' * 60}.{'b' * length}.example" for length in (24, 29, 30, 31, 62)]


class Fake(BaseAdapter):
    """Answers every request without connecting anywhere."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        response = requests.Response()
        response.status_code = 200
        return response

    def close(self) -> None:
        pass


def with_an_adapter(name: str, url: str) -> None:
    with requests.Session() as session:
        session.mount("http://", circuits.CircuitAdapter(name, adapter=Fake()))
        session.get(url)


def with_a_transport(name: str, url: str) -> None:
    mock = httpx.MockTransport(lambda request: httpx.Response(200))
    with httpx.Client(transport=circuits.CircuitTransport(mock, name)) as client:
        client.get(url)


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("get", [with_an_adapter, with_a_transport])
def test_a_long_host_has_a_circuit_of_its_own(get: Callable[[str, str], None]) -> None:
    for host in HOSTS:
        get("{host} api", f"http://{host}/")
    names = [circuit.name for circuit in Circuit.objects.all()]
    assert len(names) == len(HOSTS)
    assert f"{HOSTS[0]} api" in names


@pytest.mark.parametrize(
    "template", ["{host}", "{host} api", "the {host}", "{host}:{port} {scheme}"]
)
def test_every_host_gives_a_name_and_each_its_own(template: str) -> None:
    for length in range(1, 254):
        hosts = [("a" * length)[:-1] + last for last in "ab"]
        names = [check_name(name_of(template, None, f"http://{host}/")) for host in hosts]
        assert names[0] != names[1]
        plain = template.format(host=hosts[0], port=80, scheme="http")
        assert (names[0] == plain) is (len(plain) <= 100)


@pytest.mark.parametrize("name", ["{hostname}", "{host", "{0}", "{port.x}"])
def test_a_template_that_cannot_be_filled_in_is_told_what_it_may_hold(name: str) -> None:
    with pytest.raises(circuits.InvalidInputError) as refused:
        check_naming(name)
    assert str(refused.value) == (
        f"The name {name!r} cannot be filled in; it may hold {{host}}, {{port}} and {{scheme}}."
    )


def test_a_long_name_ends_in_the_digest_of_it() -> None:
    # Other processes, of other versions too, must find the same circuit.
    name = name_of("{host}", None, f"https://{'a' * 94}.example")
    assert name == f"{'a' * 87}~abf17823cb3e"


def test_a_function_with_a_long_name_has_a_circuit() -> None:
    names = set()
    for last in "ab":

        def ask() -> None:
            pass

        ask.__qualname__ = f"Client.{'a' * 200}{last}"
        names.add(check_name(circuits.CircuitBreaker(ask).name))
    assert len(names) == 2
    assert all(name.startswith(f"{__name__}.Client.aaa") for name in names)


def test_a_url_without_a_host_is_named_by_what_needs_none() -> None:
    assert name_of("payments", None, "mailto:ann") == "payments"
    assert name_of("{scheme} api", None, "mailto:ann") == "mailto api"
    assert name_of("{port}", None, "mailto:ann") == "0"
    assert name_of("{host}", None, "mailto:ann") is None
    assert name_of("{host} {port}", None, "https://pay.example") == "pay.example 443"
