"""Which exceptions are failures of the remote, and which are its answers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest
import requests

import circuits
from circuits.models import Circuit
from circuits.outcomes import Exceptions, Failures
from tests.factories import CircuitFactory
from tests.remotes import answer, remote_that

SERVER_ERRORS = frozenset(range(500, 600))


def is_failure(error: BaseException, exceptions: Exceptions) -> bool:
    return Failures(exceptions).include(error, SERVER_ERRORS)


def with_requests(url: str) -> None:
    requests.get(url, timeout=5).raise_for_status()


def with_httpx(url: str) -> None:
    httpx.get(url, timeout=5).raise_for_status()


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("ask", [with_requests, with_httpx])
@pytest.mark.parametrize(("status", "failures"), [(400, 0), (404, 0), (429, 0), (500, 1), (503, 1)])
def test_an_error_status_that_is_raised_counts_as_if_it_were_returned(
    ask: Callable[[str], None], status: int, failures: int
) -> None:
    CircuitFactory(name="payments", expired=True)
    with (
        remote_that(answer(status)) as remote,
        pytest.raises((requests.HTTPError, httpx.HTTPStatusError)),
        circuits.guard("payments"),
    ):
        ask(remote.url)
    row = Circuit.objects.get()
    assert row.total_failures == failures
    assert row.state == ("open" if failures else "half_open")
    assert row.leases == [], "an answer that says nothing gives the place of a trial back"


@pytest.mark.usefixtures("committed")
def test_an_error_of_the_connection_counts() -> None:
    for error in (requests.ConnectionError(), requests.Timeout(), httpx.ReadError("cut")):
        with suppress(requests.RequestException, httpx.HTTPError), circuits.guard("payments"):
            raise error
    assert Circuit.objects.get().total_failures == 3


def http_error(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(response=response)


def test_the_statuses_can_be_chosen() -> None:
    assert Failures().include(http_error(429), {429})
    assert not Failures().include(http_error(500), {429})


def test_those_excluded_do_not_count() -> None:
    failures = Failures(LookupError, KeyError)
    assert failures.include(IndexError(), SERVER_ERRORS)
    assert not failures.include(KeyError(), SERVER_ERRORS)


def test_an_http_error_without_an_answer_counts() -> None:
    assert is_failure(requests.HTTPError(), Exception)


def test_a_response_that_is_not_one_of_http_says_nothing() -> None:
    error = ValueError()
    error.response = "nonsense"  # type: ignore[attr-defined]
    assert is_failure(error, Exception)


@pytest.mark.parametrize(
    ("exceptions", "counts"),
    [
        (Exception, True),
        (LookupError, True),
        (OSError, False),
        ((OSError, KeyError), True),
        ((), False),
    ],
)
def test_only_the_exceptions_named_count(
    exceptions: tuple[type[Exception], ...], counts: bool
) -> None:
    assert is_failure(KeyError(), exceptions) is counts


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interruption_is_no_failure(interruption: type[BaseException]) -> None:
    assert not is_failure(interruption(), Exception)


def test_a_refusal_is_no_failure_of_the_remote() -> None:
    error = circuits.CircuitOpenError("orders", 3.0)
    assert not is_failure(error, (circuits.CircuitOpenError, Exception))


def test_a_failed_call_through_another_circuit_is_one() -> None:
    assert is_failure(circuits.RemoteCallFailedException("failed", "orders"), Exception)
