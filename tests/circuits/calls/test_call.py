"""``circuits.call``: an HTTP request with requests through a circuit."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import requests
from pytest_django import Settings
from requests.exceptions import ChunkedEncodingError, ContentDecodingError, InvalidHeader

import circuits
from circuits.core.status import Mode
from circuits.models import Circuit
from mockapi.hits import hits
from tests.clock import Clock
from tests.concurrency import in_threads, in_time
from tests.factories import CircuitFactory
from tests.remotes import (
    ILL,
    Request,
    answer,
    echo,
    full_remote,
    nobody,
    remote_that,
    silent_remote,
)

pytestmark = pytest.mark.usefixtures("committed")


def row() -> Any:
    return Circuit.objects.get(name="payments")


def failure(url: str, **how: Any) -> circuits.RemoteCallFailedException:
    """Make a call that must fail, and return the exception."""
    with pytest.raises(circuits.RemoteCallFailedException) as failed:
        circuits.call("payments", url, **how)
    assert type(failed.value) is circuits.RemoteCallFailedException
    return failed.value


def unwanted(error: circuits.RemoteCallFailedException) -> None:
    """Fail the test: this is a fallback that must not be called."""
    raise AssertionError("the fallback was called")


# What is asked and answered


def test_the_answer_is_returned(remote: str) -> None:
    response = circuits.call("payments", f"{remote}/success")
    assert isinstance(response, requests.Response)
    assert response.json() == {"status": "ok", "method": "GET"}


def test_what_requests_takes_is_passed_through() -> None:
    with remote_that(echo) as remote:
        asked = circuits.call(
            "payments",
            f"{remote.url}/path?a=1",
            method="PUT",
            headers={"X-Tenant": "acme"},
            params={"b": 2},
            json={"amount": 3},
            auth=("user", "password"),
        ).json()
    assert (asked["method"], asked["target"]) == ("PUT", "/path?a=1&b=2")
    assert asked["body"] == '{"amount": 3}'
    assert asked["headers"]["x-tenant"] == "acme"
    assert asked["headers"]["authorization"].startswith("Basic ")


def test_space_around_the_url_is_not_asked_for(remote: str) -> None:
    assert circuits.call("payments", f" {remote}/success\u3000").status_code == 200


def test_an_answer_can_be_read_as_it_comes(remote: str) -> None:
    with circuits.call("payments", f"{remote}/success", stream=True) as response:
        assert next(response.iter_content(1)) == b"{"


def test_a_redirect_is_followed() -> None:
    def reply(request: Request) -> bytes:
        return answer(302, Location="/there") if request.target == "/here" else answer(204)

    with remote_that(reply) as remote:
        assert circuits.call("payments", f"{remote.url}/here").status_code == 204


def test_a_redirect_to_another_scheme_is_not_followed() -> None:
    with (
        remote_that(answer()) as other,
        remote_that(answer(302, Location=other.url.replace("http", "ftp"))) as remote,
        pytest.raises(requests.exceptions.InvalidSchema),
    ):
        circuits.call("payments", remote.url)
    assert other.connections == 0
    assert row().total_failures == 0


# Failures


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_a_server_error_is_a_failure(status: int) -> None:
    with remote_that(answer(status)) as remote:
        error = failure(f"{remote.url}/path")
    assert error.name == "payments"
    assert error.response.status_code == status
    assert isinstance(error.__cause__, requests.HTTPError)
    assert error.__cause__.response is error.response
    assert str(error.__cause__) == f"HTTP {status} from {remote.url}/path"
    assert str(error) == f"The call to payments failed: HTTP {status} from {remote.url}/path"
    assert (row().failure_count, row().total_failures) == (1, 1)
    assert row().last_error == f"HTTP {status} from {remote.url}/path"


@pytest.mark.parametrize("status", [400, 401, 404, 429, 499])
def test_a_client_error_is_an_answer(status: int) -> None:
    CircuitFactory(name="payments", failure_count=1)
    with remote_that(answer(status)) as remote:
        assert circuits.call("payments", remote.url).status_code == status
    assert (row().failure_count, row().total_failures) == (0, 0), "it counts as a success"


def test_the_failure_statuses_can_be_chosen(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "FAILURE_STATUSES": [429]}
    with remote_that(answer(429)) as remote:
        assert failure(remote.url).response.status_code == 429
    with remote_that(answer(500)) as remote:
        assert circuits.call("payments", remote.url).status_code == 500
    assert row().total_failures == 1


def test_a_timeout_that_is_none_gives_the_place_of_a_trial_back() -> None:
    CircuitFactory(name="payments", expired=True)
    with pytest.raises(ValueError, match="too many values"):
        circuits.call("payments", "http://127.0.0.1:1/", timeout=(1, 2, 3))  # type: ignore[arg-type]
    assert (row().state, row().leases) == ("half_open", [])


def test_a_status_of_ones_own_making_can_be_chosen(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "FAILURE_STATUSES": range(900, 1000)}
    with remote_that(answer(999)) as remote:
        assert failure(remote.url).response.status_code == 999
    CircuitFactory(name="orders", failure_statuses="600-899")
    with remote_that(answer(999)) as remote:
        assert circuits.call("orders", remote.url).status_code == 999


def test_a_refused_connection_is_a_failure() -> None:
    with nobody() as url:
        error = failure(url)
    assert isinstance(error.__cause__, requests.ConnectionError)
    assert (error.name, error.response) == ("payments", None)
    assert str(error).startswith("The call to payments failed: Connection refused")
    assert row().total_failures == 1


@pytest.mark.parametrize("illness", ILL)
def test_an_answer_that_breaks_off_or_is_garbled_is_a_failure(illness: str) -> None:
    with remote_that(ILL[illness], stays=False) as remote:
        error = failure(remote.url)
    kinds = (requests.ConnectionError, ChunkedEncodingError, ContentDecodingError)
    assert isinstance(error.__cause__, kinds)
    assert row().total_failures == 1


def test_failures_open_the_circuit() -> None:
    with remote_that(answer(500)) as remote:
        for _ in range(5):
            failure(remote.url)
        with pytest.raises(circuits.CircuitOpenError):
            circuits.call("payments", remote.url)
    assert len(remote.requests) == 5


# Timeouts


def test_the_circuits_own_timeout_is_the_default() -> None:
    CircuitFactory(name="payments", timeout=0.05)
    with silent_remote() as remote:
        error = failure(remote.url)
    assert isinstance(error.__cause__, requests.Timeout)
    assert "read timeout=0.05" in str(error)
    assert row().total_failures == 1


def test_a_new_circuit_has_a_timeout(remote: str) -> None:
    circuits.call("payments", f"{remote}/success")
    assert row().timeout == 10


@pytest.mark.parametrize("timeout", [0.05, (5, 0.05)])
def test_the_calls_own_timeout_wins(timeout: Any) -> None:
    CircuitFactory(name="payments", timeout=3600)
    with silent_remote() as remote:
        assert isinstance(failure(remote.url, timeout=timeout).__cause__, requests.Timeout)


@pytest.mark.parametrize("timeout", [None, (None, 5), (None, None)])
def test_nobody_waits_for_ever_to_connect(timeout: Any) -> None:
    CircuitFactory(name="payments", timeout=0.2)

    with full_remote() as url:
        error = in_time(lambda: failure(url, timeout=timeout), 20)
    assert isinstance(error.__cause__, requests.ConnectTimeout)


@pytest.mark.parametrize("timeout", [(5, None), (None, None)])
def test_nobody_waits_for_ever_for_an_answer(timeout: Any) -> None:
    CircuitFactory(name="payments", timeout=0.2)

    with silent_remote() as remote:
        error = in_time(lambda: failure(remote.url, timeout=timeout), 20)
    assert isinstance(error.__cause__, requests.ReadTimeout)


def test_the_calls_own_timeout_may_be_longer(remote: str) -> None:
    CircuitFactory(name="payments", timeout=0.01)
    url = f"{remote}/slow?seconds=0.1"
    assert circuits.call("payments", url, timeout=5).status_code == 200


# Mistakes of the caller

MISTAKES: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"headers": {"X-Tenant": "a\nb"}}, InvalidHeader),
    ({"nonsense": 1}, TypeError),
]


@pytest.mark.parametrize(("how", "kind"), MISTAKES, ids=["header", "keyword"])
def test_a_mistake_of_the_caller_goes_through_and_counts_as_nothing(
    remote: str, how: dict[str, Any], kind: type[Exception]
) -> None:
    CircuitFactory(name="payments", failure_count=1)
    with pytest.raises(kind):
        circuits.call("payments", f"{remote}/success", fallback=unwanted, **how)
    circuits.flush()
    assert (row().failure_count, row().total_failures, row().total_successes) == (1, 0, 0)
    assert hits.snapshot()["success"] == 0


@pytest.mark.parametrize(("how", "kind"), MISTAKES, ids=["header", "keyword"])
def test_a_mistake_of_the_caller_gives_the_place_of_a_trial_back(
    remote: str, how: dict[str, Any], kind: type[Exception]
) -> None:
    CircuitFactory(name="payments", expired=True)
    with pytest.raises(kind):
        circuits.call("payments", f"{remote}/success", **how)
    assert (row().state, row().leases) == ("half_open", [])
    assert circuits.call("payments", f"{remote}/success").status_code == 200
    assert row().state == "closed"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://host/file", "http:// or https://, not 'ftp'"),
        ("file:///etc/passwd", "http:// or https://, not 'file'"),
        ("javascript:alert(1)", "http:// or https://, not 'javascript'"),
        ("host/path", "http:// or https://, not ''"),
        ("", "http:// or https://, not ''"),
        ("http://", "no host"),
        ("http:///path", "no host"),
        ("http://host:port/", "cannot be read"),
        ("http://ho\nst/", "control characters"),
        (None, "must be a string, not NoneType"),
        (b"http://host/", "must be a string, not bytes"),
    ],
)
def test_a_url_that_cannot_be_called_is_named_and_nothing_is_written(url: Any, words: str) -> None:
    with pytest.raises(circuits.InvalidInputError, match=words):
        circuits.call("payments", url, fallback=unwanted)
    assert not Circuit.objects.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "1 to 100 characters, not 0"),
        ("x" * 101, "1 to 100 characters, not 101"),
        ("pay\nments", r"control characters: 'pay\\nments'"),
        (" payments", "' payments'"),
        (None, "must be a string, not NoneType"),
    ],
)
def test_a_name_that_cannot_be_a_circuits_is_named_and_nothing_is_written(
    remote: str, name: Any, words: str
) -> None:
    with pytest.raises(circuits.InvalidInputError, match=words):
        circuits.call(name, f"{remote}/success", fallback=unwanted)
    assert not Circuit.objects.exists()
    assert hits.snapshot()["success"] == 0


# Refusals


def test_a_refused_call_sends_no_request(remote: str) -> None:
    CircuitFactory(name="payments", opened=True)
    with pytest.raises(
        circuits.CircuitOpenError, match=r"(?m)^Retry after \d+\.\d\d secs$"
    ) as refused:
        circuits.call("payments", f"{remote}/success")
    assert refused.value.name == "payments"
    assert 50 < refused.value.retry_after <= 60
    assert hits.snapshot()["success"] == 0


# Fallback


def test_the_fallback_gets_the_failure_and_its_value_is_returned(remote: str) -> None:
    given: list[circuits.RemoteCallFailedException] = []

    def fallback(error: circuits.RemoteCallFailedException) -> str:
        given.append(error)
        return "from the cache"

    got = circuits.call("payments", f"{remote}/faulty", fallback=fallback)
    assert got == "from the cache"
    assert [error.response.status_code for error in given] == [500]
    assert row().total_failures == 1, "the failure counts all the same"


def test_the_fallback_stands_in_for_a_refused_call(remote: str) -> None:
    CircuitFactory(name="payments", mode=Mode.FORCED_OPEN, opened=True)
    url = f"{remote}/success"
    error = circuits.call("payments", url, fallback=lambda error: error)
    assert isinstance(error, circuits.CircuitOpenError)
    assert hits.snapshot()["success"] == 0


def test_the_fallback_is_left_alone_when_the_call_goes_well(remote: str) -> None:
    response = circuits.call("payments", f"{remote}/success", fallback=unwanted)
    assert response.status_code == 200


def test_what_the_fallback_raises_goes_through(remote: str) -> None:
    def fallback(error: circuits.RemoteCallFailedException) -> None:
        raise LookupError from error

    with pytest.raises(LookupError):
        circuits.call("payments", f"{remote}/faulty", fallback=fallback)
    assert row().total_failures == 1


# Connections and cookies


def test_a_thread_keeps_its_connection_and_shares_it_with_none() -> None:
    with remote_that(answer()) as remote:

        def work(index: int) -> None:
            for _ in range(3):
                circuits.call("payments", remote.url)

        work(0)
        assert remote.connections == 1
        in_threads(2, work)
        assert remote.connections == 3


FORK = """
import os
import sys

from django.conf import settings

settings.configure(
    INSTALLED_APPS=["circuits"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)

import django

django.setup()

import circuits

circuits.call("payments", sys.argv[1])
child = os.fork()
circuits.call("payments", sys.argv[1])
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_leaves_the_connection_to_its_parent() -> None:
    with remote_that(answer()) as remote:
        # Without a table for circuits each process goes on by itself, and so needs no database.
        subprocess.run([sys.executable, "-c", FORK, remote.url], check=True)
    assert len(remote.requests) == 3
    assert remote.connections == 2


def test_a_cookie_set_by_one_answer_is_never_sent_with_another_call() -> None:
    with remote_that(answer(Set_Cookie="session=of somebody else")) as remote:
        for _ in range(2):
            response = circuits.call("payments", remote.url)
            assert "session" in response.cookies
    assert [request.headers["Cookie"] for request in remote.requests] == [None, None]


def test_a_calls_own_cookies_are_sent_with_it_alone() -> None:
    with remote_that(answer()) as remote:
        circuits.call("payments", remote.url, cookies={"session": "mine"})
        circuits.call("payments", remote.url)
    assert [request.headers["Cookie"] for request in remote.requests] == ["session=mine", None]


def test_headers_and_auth_of_one_call_are_not_sent_with_another() -> None:
    with remote_that(answer()) as remote:
        circuits.call("payments", remote.url, headers={"X-Tenant": "acme"}, auth=("a", "b"))
        circuits.call("payments", remote.url)
    last = remote.requests[-1].headers
    assert (last["X-Tenant"], last["Authorization"]) == (None, None)


def test_many_circuits_call_one_remote_and_each_counts_its_own(remote: str, clock: Clock) -> None:
    for name, path in {"payments": "faulty", "orders": "success"}.items():
        circuits.call(name, f"{remote}/{path}", fallback=lambda error: None)
    circuits.flush()
    counted = Circuit.objects.values_list("name", "total_successes", "total_failures")
    assert set(counted) == {("payments", 0, 1), ("orders", 1, 0)}


def test_an_async_fallback_is_refused_and_no_request_is_sent(remote: str) -> None:
    async def zero(error: Exception) -> int:
        return 0

    sentence = (
        r"^The fallback .*zero is async, and circuits\.call is not; give it one that is not\.$"
    )
    with pytest.raises(TypeError, match=sentence):
        circuits.call("payments", f"{remote}/faulty", fallback=zero)
    assert hits.snapshot()["faulty"] == 0
