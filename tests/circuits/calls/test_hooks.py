"""A response hook that raises changes nothing in what an answer says of the remote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import requests

import circuits
from circuits.models import Circuit
from tests.factories import CircuitFactory
from tests.remotes import Request, answer, remote_that

pytestmark = pytest.mark.usefixtures("committed")


def raise_for_status(response: requests.Response, **kwargs: Any) -> None:
    response.raise_for_status()


class SdkError(Exception):
    """An exception that a hook raises for an answer."""


def raise_sdk_error(response: requests.Response, **kwargs: Any) -> None:
    if response.status_code >= 400:
        raise SdkError


HOOKS = [(raise_for_status, requests.HTTPError), (raise_sdk_error, SdkError)]


def row() -> Any:
    circuits.flush()
    return Circuit.objects.get(name="payments")


@pytest.mark.parametrize(("hook", "error"), HOOKS)
@pytest.mark.parametrize("wrapped", [lambda hook: hook, lambda hook: [hook], lambda hook: (hook,)])
def test_a_failure_status_is_one(
    hook: Callable[..., None], error: type[Exception], wrapped: Callable[[Any], Any]
) -> None:
    with (
        remote_that(answer(500, b"sorry")) as remote,
        pytest.raises(circuits.RemoteCallFailedException, match="HTTP 500 from") as failed,
    ):
        circuits.call("payments", remote.url, hooks={"response": wrapped(hook)})
    assert isinstance(failed.value.__cause__, error)
    assert (failed.value.response.status_code, failed.value.response.text) == (500, "sorry")
    assert row().total_failures == 1
    assert row().last_error == f"HTTP 500 from {remote.url}"


def test_a_hook_gets_what_requests_gives_it() -> None:
    given: dict[str, Any] = {}

    def hook(response: requests.Response, **kwargs: Any) -> None:
        given.update(kwargs, status=response.status_code)

    with remote_that(answer()) as remote:
        circuits.call("payments", remote.url, timeout=7, hooks={"response": hook})
    assert (given["status"], given["timeout"]) == (200, 7)
    assert given.keys() >= {"verify", "cert", "proxies", "stream"}


@pytest.mark.parametrize(("stream", "left"), [(True, b"sorry"), (False, b"")])
def test_the_body_of_a_stream_is_left_to_its_reader(stream: bool, left: bytes) -> None:
    with (
        remote_that(answer(500, b"sorry")) as remote,
        pytest.raises(circuits.RemoteCallFailedException) as failed,
    ):
        circuits.call("payments", remote.url, stream=stream, hooks={"response": raise_for_status})
    assert failed.value.response.raw.read() == left


def test_the_fallback_is_used() -> None:
    with remote_that(answer(500)) as remote:
        value = circuits.call(
            "payments",
            remote.url,
            hooks={"response": raise_for_status},
            fallback=lambda error: error.response.status_code,
        )
    assert value == 500


@pytest.mark.parametrize(("hook", "error"), HOOKS)
def test_an_answer_is_a_success_though_the_hook_raises(
    hook: Callable[..., None], error: type[Exception]
) -> None:
    CircuitFactory(name="payments", expired=True)
    with remote_that(answer(404)) as remote, pytest.raises(error):
        circuits.call("payments", remote.url, hooks={"response": hook})
    assert row().state == "closed"


def test_is_failure_decides_on_what_the_hook_raised_for() -> None:
    with remote_that(answer(404)) as remote, pytest.raises(circuits.RemoteCallFailedException):
        circuits.call(
            "payments",
            remote.url,
            hooks={"response": raise_for_status},
            is_failure=lambda response: response.status_code == 404,
        )
    assert row().total_failures == 1


def test_a_retry_after_is_heeded() -> None:
    CircuitFactory(name="payments", respect_retry_after=True)
    with remote_that(answer(429, Retry_After="45")) as remote, pytest.raises(requests.HTTPError):
        circuits.call("payments", remote.url, hooks={"response": raise_for_status})
    assert row().state == "open"


def test_a_streamed_answer_that_a_hook_refuses_gives_its_trial_back() -> None:
    CircuitFactory(name="payments", expired=True)
    with remote_that(answer(404)) as remote, pytest.raises(requests.HTTPError) as refused:
        circuits.call("payments", remote.url, hooks={"response": raise_for_status}, stream=True)
    assert refused.value.response is not None
    assert refused.value.response.content == b"{}"
    assert row().state == "closed"


def test_a_body_that_breaks_is_a_failure_though_the_hook_raises() -> None:
    cut = b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\nonly this"
    with (
        remote_that(cut, stays=False) as remote,
        pytest.raises(circuits.RemoteCallFailedException) as failed,
    ):
        circuits.call("payments", remote.url, hooks={"response": raise_for_status})
    assert isinstance(failed.value.__cause__, requests.exceptions.ChunkedEncodingError)


def test_a_hook_that_does_not_raise_is_as_ever() -> None:
    def replace(response: requests.Response, **kwargs: Any) -> requests.Response:
        response.status_code = 204
        return response

    with remote_that(answer()) as remote:
        asked: list[int] = []
        hooks: Any = {"response": [replace, lambda r, **kw: asked.append(r.status_code)]}
        assert circuits.call("payments", remote.url, hooks=hooks).status_code == 204
        assert circuits.call("payments", remote.url, hooks={}).status_code == 200
    assert asked == [204]


def test_a_connection_that_breaks_after_a_redirect_is_a_failure() -> None:
    def reply(request: Request) -> bytes:
        return answer(302, Location="/there") if request.target == "/here" else b""

    with remote_that(reply) as remote, pytest.raises(circuits.RemoteCallFailedException) as failed:
        circuits.call("payments", f"{remote.url}/here", hooks={"response": raise_for_status})
    assert isinstance(failed.value.__cause__, requests.ConnectionError)


@pytest.mark.parametrize(("status", "failures"), [(404, 0), (500, 1)])
def test_a_hook_of_a_session_with_an_adapter_is_as_ever(status: int, failures: int) -> None:
    with remote_that(answer(status)) as remote, requests.Session() as session:
        session.mount("http://", circuits.CircuitAdapter("payments"))
        session.hooks["response"] = [raise_for_status]
        with pytest.raises(requests.HTTPError):
            session.get(remote.url)
    assert (row().total_failures, row().total_successes) == (failures, 1 - failures)


@pytest.mark.parametrize(("status", "failures"), [(404, 0), (500, 1)])
def test_an_event_hook_of_httpx_is_as_ever(status: int, failures: int) -> None:
    def refuse(response: httpx.Response) -> None:
        response.raise_for_status()

    transport = circuits.CircuitTransport(name="payments")
    with (
        remote_that(answer(status)) as remote,
        httpx.Client(transport=transport, event_hooks={"response": [refuse]}) as client,
        pytest.raises(httpx.HTTPStatusError),
    ):
        client.get(remote.url)
    assert (row().total_failures, row().total_successes) == (failures, 1 - failures)


@pytest.mark.parametrize(("status", "failures"), [(404, 0), (500, 1)])
async def test_an_auth_flow_that_raises_for_a_status_counts_by_it(
    status: int, failures: int
) -> None:
    class Auth(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Any:
            response = yield request
            response.raise_for_status()

    with remote_that(answer(status)) as remote, pytest.raises(Exception, match=str(status)):
        await circuits.acall("payments", remote.url, auth=Auth())
    assert (await Circuit.objects.aget()).total_failures == failures
