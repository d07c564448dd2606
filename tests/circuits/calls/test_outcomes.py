"""Which exceptions count as failures, which as answers, and which as nothing."""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.client
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import httpx
import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

import circuits
from circuits.calls.failures import Exceptions, Failures
from circuits.models import Circuit
from circuits.process.observers import CallOutcome
from tests.factories import CircuitFactory
from tests.remotes import Request, answer, remote_that

SERVER_ERRORS = frozenset(range(500, 600))

SUCCESS, FAILURE, NOTHING = CallOutcome.SUCCESS, CallOutcome.FAILURE, CallOutcome.IGNORED


def judged(
    error: BaseException, exceptions: Exceptions = Exception, exclude: Exceptions = ()
) -> CallOutcome:
    return Failures(exceptions, exclude).judge(error, SERVER_ERRORS)


# An answer is a success, returned or raised


def with_requests(url: str) -> None:
    requests.get(url, timeout=5).raise_for_status()


def with_retries(url: str) -> None:
    with requests.Session() as session:
        retries = Retry(1, status_forcelist=range(400, 600), backoff_factor=0)
        session.mount("http://", HTTPAdapter(max_retries=retries))
        session.get(url, timeout=5)


def with_urllib3(url: str) -> None:
    retries = Retry(1, status_forcelist=range(400, 600), backoff_factor=0)
    urllib3.request("GET", url, retries=retries, timeout=5)


def with_httpx(url: str) -> None:
    httpx.get(url, timeout=5).raise_for_status()


def with_urllib(url: str) -> None:
    urlopen(url, timeout=5).close()


WAYS = [with_requests, with_retries, with_urllib3, with_httpx, with_urllib]


def ask(get: Callable[[str], None], url: str, times: int = 1) -> None:
    """Make calls that raise, through a protected function of a site."""
    for _ in range(times):
        with pytest.raises(
            (
                requests.RequestException,
                httpx.HTTPStatusError,
                HTTPError,
                urllib3.exceptions.HTTPError,
            )
        ) as raised:
            circuits.protect("payments")(get)(url)
        if isinstance(raised.value, HTTPError):
            raised.value.close()


def row() -> Any:
    circuits.flush()
    return Circuit.objects.get(name="payments")


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("get", WAYS)
@pytest.mark.parametrize(("status", "failures"), [(400, 0), (404, 0), (429, 0), (500, 1), (503, 1)])
def test_an_error_status_that_is_raised_counts_as_if_it_were_returned(
    get: Callable[[str], None], status: int, failures: int
) -> None:
    CircuitFactory(name="payments", expired=True)
    with remote_that(answer(status)) as remote:
        ask(get, remote.url)
    assert (row().total_failures, row().total_successes) == (failures, 1 - failures)
    assert row().state == ("open" if failures else "closed")


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("get", WAYS)
def test_an_answer_between_two_failures_ends_their_run(get: Callable[[str], None]) -> None:
    CircuitFactory(name="payments", threshold=2)
    with remote_that(answer(404)) as good, remote_that(answer(500)) as bad:
        ask(get, bad.url)
        ask(get, good.url, times=50)
        ask(get, bad.url)
    assert (row().state, row().total_failures, row().total_successes) == ("closed", 2, 50)


@pytest.mark.usefixtures("committed")
def test_answers_are_calls_whose_share_has_not_failed() -> None:
    CircuitFactory(name="payments", strategy="rate", failure_rate=0.5, minimum_calls=2)
    with remote_that(answer(404)) as good, remote_that(answer(500)) as bad:
        ask(with_requests, good.url, times=50)
        ask(with_requests, bad.url, times=2)
        assert row().state == "closed"
        ask(with_requests, bad.url, times=48)
    assert row().state == "open"


def http_error(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(response=response)


def test_the_statuses_can_be_chosen() -> None:
    assert Failures().judge(http_error(429), {429}) is FAILURE
    assert Failures().judge(http_error(500), {429}) is SUCCESS


def test_an_answer_need_not_be_among_the_exceptions_named() -> None:
    assert judged(http_error(404), KeyError) is SUCCESS
    assert judged(http_error(500), KeyError) is NOTHING


def test_an_error_without_an_answer_counts() -> None:
    assert judged(requests.HTTPError()) is FAILURE
    assert judged(URLError("no route to host")) is FAILURE


@pytest.mark.parametrize(
    "response",
    [
        "nonsense",
        None,
        {},
        {"ResponseMetadata": {}},
        type("Response", (), {"status_code": "404"})(),
    ],
)
def test_a_response_that_is_not_one_of_http_says_nothing(response: object) -> None:
    error = ValueError()
    error.response = response  # type: ignore[attr-defined]
    assert judged(error) is FAILURE


def test_a_good_status_is_not_why_an_exception_was_raised() -> None:
    assert judged(http_error(200)) is FAILURE


class PricklyError(Exception):
    """An exception that raises whenever an attribute of it is read."""

    @property
    def response(self) -> Any:
        raise ZeroDivisionError

    @property
    def code(self) -> Any:
        raise RuntimeError


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize(("exceptions", "failures"), [(Exception, 1), (OSError, 0)])
def test_an_exception_that_cannot_be_looked_at_goes_through(
    exceptions: type[Exception], failures: int
) -> None:
    CircuitFactory(name="payments", expired=True, max_concurrent=1)
    with pytest.raises(PricklyError), circuits.guard("payments", exceptions=exceptions):
        raise PricklyError
    assert (row().total_failures, row().leases) == (failures, [])
    assert row().state == ("open" if failures else "half_open")


# Redirects, and what is wrapped


def around(request: Request) -> bytes:
    return answer(302, Location=request.target)


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("get", [with_requests, with_urllib, with_urllib3])
def test_a_loop_of_redirects_is_the_remotes_failure(get: Callable[[str], None]) -> None:
    with remote_that(around) as remote:
        ask(get, f"{remote.url}/round")
    assert row().total_failures == 1


@pytest.mark.usefixtures("committed")
def test_a_loop_of_redirects_is_one_for_a_call_too() -> None:
    with remote_that(around) as remote, pytest.raises(circuits.RemoteCallFailedException) as failed:
        circuits.call("payments", f"{remote.url}/round")
    assert isinstance(failed.value.__cause__, requests.TooManyRedirects)
    assert len(remote.requests) == 31
    assert row().total_failures == 1


@pytest.mark.usefixtures("committed")
async def test_a_loop_of_redirects_is_one_for_an_async_call_too() -> None:
    with remote_that(around) as remote, pytest.raises(circuits.RemoteCallFailedException) as failed:
        await circuits.acall("payments", f"{remote.url}/round")
    assert isinstance(failed.value.__cause__, httpx.TooManyRedirects)
    assert (await Circuit.objects.aget()).total_failures == 1


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize(("status", "failures"), [(404, 0), (429, 0), (503, 1)])
def test_an_adapter_that_gives_up_retrying_counts_by_the_status(status: int, failures: int) -> None:
    retries = HTTPAdapter(max_retries=Retry(1, status_forcelist=[status], backoff_factor=0))
    with remote_that(answer(status)) as remote, requests.Session() as session:
        session.mount("http://", circuits.CircuitAdapter("payments", adapter=retries))
        with pytest.raises(requests.exceptions.RetryError):
            session.get(remote.url)
    assert len(remote.requests) == 2
    assert (row().total_failures, row().total_successes) == (failures, 1 - failures)


@pytest.mark.usefixtures("committed")
def test_an_answer_with_a_bad_header_is_a_failure() -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
    with remote_that(reply) as remote, pytest.raises(circuits.RemoteCallFailedException):
        circuits.call("payments", remote.url)
    assert row().total_failures == 1


# Which exceptions are named


@pytest.mark.usefixtures("committed")
def test_an_error_of_the_connection_counts() -> None:
    for error in (requests.ConnectionError(), requests.Timeout(), httpx.ReadError("cut")):
        with suppress(requests.RequestException, httpx.HTTPError), circuits.guard("payments"):
            raise error
    assert Circuit.objects.get().total_failures == 3


@pytest.mark.parametrize(
    ("exceptions", "outcome"),
    [
        (Exception, FAILURE),
        (LookupError, FAILURE),
        (OSError, NOTHING),
        ((OSError, KeyError), FAILURE),
        ((), NOTHING),
        (lambda error: error.args == ("down",), FAILURE),
        (lambda error: error.args == ("up",), NOTHING),
        ((OSError, lambda error: True), FAILURE),
    ],
)
def test_only_the_exceptions_named_count(exceptions: Exceptions, outcome: CallOutcome) -> None:
    assert judged(KeyError("down"), exceptions) is outcome


@pytest.mark.parametrize(
    "exclude", [KeyError, LookupError, (OSError, KeyError), lambda error: error.args == ("down",)]
)
def test_an_exception_that_is_excluded_is_an_answer(exclude: Exceptions) -> None:
    assert judged(KeyError("down"), exclude=exclude) is SUCCESS
    assert judged(KeyError("down"), OSError, exclude) is SUCCESS
    assert judged(ValueError("up"), exclude=exclude) is FAILURE


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("exclude", [KeyError, lambda error: isinstance(error, KeyError)])
def test_an_answer_by_exclusion_closes_a_circuit(exclude: Exceptions) -> None:
    def declined() -> None:
        raise KeyError("declined")

    CircuitFactory(name="payments", expired=True)
    with pytest.raises(KeyError):
        circuits.protect("payments", exclude=exclude)(declined)()
    assert row().state == "closed"

    CircuitFactory(name="breaker", expired=True)
    breaker = circuits.CircuitBreaker(declined, name="breaker", exclude=exclude)
    with pytest.raises(KeyError):
        breaker.make_remote_call()
    assert circuits.get("breaker").state == "closed"


@pytest.mark.usefixtures("committed")
async def test_an_answer_by_exclusion_closes_a_circuit_for_async_code() -> None:
    await Circuit.objects.acreate(name="payments", threshold=2, failure_count=1)
    with pytest.raises(KeyError):
        async with circuits.guard("payments", exclude=KeyError):
            raise KeyError("declined")
    assert (await Circuit.objects.aget()).failure_count == 0


def test_a_callable_decides_in_place_of_the_status() -> None:
    assert judged(http_error(404), lambda error: error.response.status_code == 404) is FAILURE
    assert judged(http_error(500), exclude=lambda error: error.response is not None) is SUCCESS


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("how", ["exceptions", "exclude"])
def test_a_callable_that_returns_nothing_is_an_error(how: str) -> None:
    CircuitFactory(name="payments", expired=True)
    rules: dict[str, Any] = {how: lambda error: None}
    with (
        pytest.raises(
            circuits.InvalidInputError,
            match=r"^The callable that names exceptions must return true or false, not None\.$",
        ),
        circuits.guard("payments", **rules),
    ):
        raise KeyError("down")
    assert row().leases == [], "the trial is given back"


@pytest.mark.parametrize("rule", ["KeyError", 5, object, (KeyError, None)])
def test_what_names_no_exception_is_refused(rule: Any) -> None:
    sentence = (
        r"^Name exceptions as a class, a callable that returns whether one counts, or a tuple of "
        r"those; .* is none\.$"
    )
    with pytest.raises(circuits.InvalidInputError, match=sentence):
        circuits.guard("payments", exceptions=rule)
    with pytest.raises(circuits.InvalidInputError, match=sentence):
        circuits.protect("payments", exclude=rule)


# What says nothing


@pytest.mark.parametrize(
    "interruption", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]
)
def test_an_interruption_is_no_failure(interruption: type[BaseException]) -> None:
    assert judged(interruption()) is NOTHING
    assert judged(interruption(), BaseException) is NOTHING
    assert judged(interruption(), lambda error: True) is NOTHING
    assert judged(interruption(), exclude=lambda error: True) is NOTHING
    assert judged(interruption(), interruption) is FAILURE


def test_a_cancelled_future_is_no_failure() -> None:
    assert judged(concurrent.futures.CancelledError()) is NOTHING


def test_a_refusal_is_no_failure_of_the_remote() -> None:
    error = circuits.CircuitOpenError("orders", 3.0)
    assert judged(error, (circuits.CircuitOpenError, Exception)) is NOTHING
    assert judged(error, exclude=Exception) is NOTHING


def test_a_failed_call_through_another_circuit_is_one() -> None:
    assert judged(circuits.RemoteCallFailedException("failed", "orders")) is FAILURE
    # By is_failure, or by statuses that are the other circuit's own.
    response = http_error(404).response
    assert judged(circuits.RemoteCallFailedException("failed", "orders", response)) is FAILURE


MISTAKES = {
    "a bad header": requests.exceptions.InvalidHeader("two lines"),
    "no URL": requests.exceptions.MissingSchema("no scheme"),
    "a URL of another kind": requests.exceptions.InvalidSchema("ftp"),
    "a broken URL": requests.exceptions.InvalidURL("no host"),
    "no JSON": requests.exceptions.InvalidJSONError(ValueError("nan")),
    "a body that is read": requests.exceptions.UnrewindableBodyError("read"),
    "requests' closed pool": requests.ConnectionError(
        urllib3.exceptions.ClosedPoolError(urllib3.HTTPConnectionPool("a"), "closed")
    ),
    "urllib3's full pool": urllib3.exceptions.EmptyPoolError(
        urllib3.HTTPConnectionPool("a"), "all in use"
    ),
    "urllib3's broken URL": urllib3.exceptions.LocationParseError("//"),
    "httpx's full pool": httpx.PoolTimeout("all in use"),
    "httpx's bad header": httpx.LocalProtocolError("Illegal header value"),
    "httpx's URL of another kind": httpx.UnsupportedProtocol("ftp"),
    "httpx's broken URL": httpx.InvalidURL("no host"),
    "an answer that was not read": httpx.ResponseNotRead(),
    "http.client's broken URL": http.client.InvalidURL("a space"),
    "what cannot be encoded": UnicodeEncodeError("latin-1", "€", 0, 1, "no such sign"),
}


@pytest.mark.parametrize("error", MISTAKES.values(), ids=MISTAKES)
def test_the_callers_own_mistake_says_nothing(error: Exception) -> None:
    assert judged(error) is NOTHING
    assert judged(error, (OSError, RuntimeError, ValueError, httpx.HTTPError)) is NOTHING


def test_the_callers_own_mistake_counts_if_just_that_is_named() -> None:
    assert judged(httpx.PoolTimeout("all in use"), (OSError, httpx.PoolTimeout)) is FAILURE
    assert judged(httpx.ResponseNotRead(), httpx.ResponseNotRead) is FAILURE


def test_what_the_remote_did_is_no_mistake_of_the_callers() -> None:
    not_json = requests.exceptions.JSONDecodeError("no JSON", "<html>", 0)
    bad_length = urllib3.exceptions.InvalidHeader("Content-Length contained multiple values")
    assert judged(not_json) is FAILURE
    assert judged(requests.exceptions.InvalidHeader(bad_length)) is FAILURE


# Groups


def group(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("several", errors)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (group(KeyError(), ConnectionError()), FAILURE),
        (group(KeyError(), group(http_error(404), ConnectionError())), FAILURE),
        (group(KeyError()), NOTHING),
        (group(http_error(404), http_error(410)), SUCCESS),
        (group(http_error(404), KeyError()), NOTHING),
        (group(TimeoutError(), http_error(404)), SUCCESS),
        (group(circuits.CircuitOpenError("orders", 3.0)), NOTHING),
        (BaseExceptionGroup("both", [asyncio.CancelledError(), ConnectionError()]), FAILURE),
        (BaseExceptionGroup("stopped", [asyncio.CancelledError()]), NOTHING),
    ],
)
def test_a_group_counts_by_its_leaves(error: BaseException, outcome: CallOutcome) -> None:
    assert judged(error, ConnectionError, exclude=TimeoutError) is outcome


def test_groups_may_be_named_as_such() -> None:
    assert judged(group(KeyError()), (ConnectionError, ExceptionGroup)) is FAILURE


def test_an_error_of_urllib_counts_by_its_status() -> None:
    for status, outcome in ((404, SUCCESS), (304, SUCCESS), (503, FAILURE)):
        with HTTPError("http://a", status, "so it is", Message(), None) as error:
            assert judged(error) is outcome


# A full pool of the caller's own


@pytest.mark.usefixtures("committed")
def test_a_full_pool_of_the_callers_says_nothing_to_a_transport() -> None:
    CircuitFactory(name="payments", threshold=1)
    inner = httpx.HTTPTransport(limits=httpx.Limits(max_connections=1))
    transport = circuits.CircuitTransport(inner, "payments")
    with (
        remote_that(answer()) as remote,
        httpx.Client(transport=transport, timeout=httpx.Timeout(5, pool=0.01)) as client,
        client.stream("GET", remote.url),
    ):
        with pytest.raises(httpx.PoolTimeout):
            client.get(remote.url)
        assert (row().state, row().total_failures) == ("closed", 0)


@pytest.mark.usefixtures("committed")
async def test_a_full_pool_of_the_callers_says_nothing_to_an_async_transport() -> None:
    await Circuit.objects.acreate(name="payments", threshold=1)
    inner = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=1))
    transport = circuits.AsyncCircuitTransport(inner, "payments")
    timeout = httpx.Timeout(5, pool=0.01)
    with remote_that(answer()) as remote:
        async with (
            httpx.AsyncClient(transport=transport, timeout=timeout) as client,
            client.stream("GET", remote.url),
        ):
            with pytest.raises(httpx.PoolTimeout):
                await client.get(remote.url)
            found = await Circuit.objects.aget()
            assert (found.state, found.total_failures) == ("closed", 0)


@pytest.mark.usefixtures("committed")
def test_a_full_pool_of_urllib3_says_nothing_to_a_guard() -> None:
    CircuitFactory(name="payments", threshold=1)
    brief: Any = {"pool_timeout": 0.01}
    with (
        remote_that(answer()) as remote,
        urllib3.connectionpool.connection_from_url(remote.url, maxsize=1, block=True) as pool,
    ):
        busy = pool.request("GET", "/", preload_content=False)
        with (
            pytest.raises(urllib3.exceptions.EmptyPoolError),
            circuits.guard("payments"),
        ):
            pool.urlopen("GET", "/", retries=False, **brief)
        busy.release_conn()
    assert (row().state, row().total_failures) == ("closed", 0)


UNSENDABLE: list[dict[str, Any]] = [
    {"headers": {"X": "a\nb"}},
    {"headers": {"X": "€"}},
    {"json": {"a": float("nan")}},
    {"auth": ("ü€", "b")},
    {"url": "https://127.0.0.1:1/", "verify": "/no/such/file"},
    {"url": "https://127.0.0.1:1/", "cert": "/no/such/file"},
]


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("mistake", UNSENDABLE)
def test_a_call_that_cannot_be_sent_says_nothing(mistake: dict[str, Any]) -> None:
    CircuitFactory(name="payments", expired=True)
    with remote_that(answer()) as remote, pytest.raises((ValueError, OSError)):
        circuits.call("payments", **{"url": remote.url, **mistake})
    assert (row().state, row().leases, row().total_failures) == ("half_open", [], 0)


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("mistake", UNSENDABLE)
def test_a_request_that_cannot_be_sent_says_nothing_to_an_adapter(mistake: dict[str, Any]) -> None:
    circuit = CircuitFactory.create(name="payments", threshold=1)
    with remote_that(answer()) as remote, requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, circuits.CircuitAdapter("payments"))
        with pytest.raises((ValueError, OSError)):
            session.get(**{"url": remote.url, **mistake})
    circuit.refresh_from_db()
    assert (circuit.state, circuit.total_failures) == ("closed", 0)
