"""Circuits under httpx: a client, sync or async, behaves as always and is protected."""

from __future__ import annotations

import asyncio
import gc
import json
import pickle
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import httpx
import pytest

import circuits
from circuits import AsyncCircuitTransport, CircuitTransport
from circuits.calls.transports import CircuitBusyConnectError, CircuitOpenConnectError
from circuits.models import Circuit
from mockapi.hits import hits
from tests.circuits.calls import raw_server as raw
from tests.circuits.calls.raw_server import SHORT, serving
from tests.concurrency import wait_until
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")

READERS = ["read", "iter_bytes", "iter_text", "iter_lines", "iter_raw"]


@pytest.fixture
def outcomes() -> Iterator[list[str]]:
    with raw.hearing() as heard:
        yield heard


class SyncClient:
    """An ``httpx.Client`` whose requests go through a circuit."""

    transport: Any = CircuitTransport
    inner: Any = httpx.HTTPTransport

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.client = httpx.Client(transport=self.transport(*arguments), **options)

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        return self.client.request(method, url, **options)

    def open(self, url: str, method: str = "GET") -> httpx.Response:
        return self.client.send(self.client.build_request(method, url), stream=True)

    def read(self, response: httpx.Response, how: str) -> Any:
        if how == "read":
            return response.read()
        return list(getattr(response, how)())

    def start(self, response: httpx.Response) -> Iterator[bytes]:
        return response.iter_bytes(6)

    def close(self, response: httpx.Response) -> None:
        response.close()

    def breathe(self) -> None:
        """Give the event loop a few turns."""

    def end(self) -> None:
        self.client.close()


class AsyncClient(SyncClient):
    """An ``httpx.AsyncClient`` whose requests go through a circuit, driven step by step."""

    transport = AsyncCircuitTransport
    inner = httpx.AsyncHTTPTransport

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.runner = asyncio.Runner()
        self.aclient = httpx.AsyncClient(transport=self.transport(*arguments), **options)

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        return self.runner.run(self.aclient.request(method, url, **options))

    def open(self, url: str, method: str = "GET") -> httpx.Response:
        request = self.aclient.build_request(method, url)
        return self.runner.run(self.aclient.send(request, stream=True))

    def read(self, response: httpx.Response, how: str) -> Any:
        async def read() -> Any:
            if how == "read":
                return await response.aread()
            return [part async for part in getattr(response, f"a{how}")()]

        return self.runner.run(read())

    def start(self, response: httpx.Response) -> Iterator[bytes]:
        parts = response.aiter_bytes(6)

        async def next_part() -> bytes | None:
            return await anext(parts, None)

        while (part := self.runner.run(next_part())) is not None:
            yield part

    def close(self, response: httpx.Response) -> None:
        self.runner.run(response.aclose())

    def breathe(self) -> None:
        self.runner.run(asyncio.sleep(0))

    def end(self) -> None:
        self.runner.run(self.aclient.aclose())
        self.runner.close()


@pytest.fixture(params=[SyncClient, AsyncClient], ids=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@contextmanager
def using(kind: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
    client = kind(*(arguments or (None, "remote")), **options)
    try:
        yield client
    finally:
        client.end()


@pytest.fixture
def client(kind: Any) -> Iterator[Any]:
    """A client protected by the circuit ``remote``."""
    with using(kind, timeout=raw.PATIENCE) as client:
        yield client


# Refusals ----------------------------------------------------------------------------------------


def test_a_client_is_protected(kind: Any, remote: str) -> None:
    CircuitFactory.create(name="127.0.0.1", threshold=3)
    with using(kind, None) as client:
        assert client.request("GET", f"{remote}/success").json()["status"] == "ok"
        for _ in range(3):
            assert client.request("GET", f"{remote}/faulty").status_code == 500
        with pytest.raises(httpx.ConnectError):
            client.request("GET", f"{remote}/success")
    assert (hits.snapshot()["success"], hits.snapshot()["faulty"]) == (1, 3)


def test_a_refusal_is_a_refusal_and_a_connect_error(client: Any) -> None:
    CircuitFactory.create(name="remote", opened=True)
    with pytest.raises(
        circuits.CircuitOpenError, match=r"(?m)^Retry after \d\d\.\d\d secs$"
    ) as refused:
        client.request("GET", "http://127.0.0.1:1/charge")
    error = refused.value
    assert isinstance(error, CircuitOpenConnectError)
    assert isinstance(error, httpx.ConnectError)
    assert isinstance(error, circuits.RemoteCallFailedException)
    assert not isinstance(error, circuits.CircuitBusyError)
    assert error.name == "remote"
    assert 50 < error.retry_after <= 60
    assert error.request.url == "http://127.0.0.1:1/charge"
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is CircuitOpenConnectError
    assert (copy.name, copy.retry_after, str(copy)) == ("remote", error.retry_after, str(error))
    assert copy.request.url == "http://127.0.0.1:1/charge"


def test_a_refusal_without_a_client() -> None:
    request = httpx.Request("GET", "http://127.0.0.1:1/charge")
    assert CircuitOpenConnectError("remote", 8.691, request).request is request
    error = CircuitOpenConnectError("remote", 8.691)
    assert str(error) == "Retry after 8.69 secs"
    with pytest.raises(RuntimeError):  # as httpx has it
        _ = error.request


def handled(kind: Any, request: httpx.Request) -> httpx.Response:
    """Send a request with a transport by itself; a client would name the request once more."""
    if kind is AsyncClient:
        return asyncio.run(ahandled(request))
    with CircuitTransport(name="remote") as transport:
        response = transport.handle_request(request)
        response.close()
        return response


async def ahandled(request: httpx.Request) -> httpx.Response:
    async with AsyncCircuitTransport(name="remote") as transport:
        response = await transport.handle_async_request(request)
        await response.aclose()
        return response


def test_answers_and_refusals_name_their_request_without_a_client_too(kind: Any) -> None:
    with serving(raw.good) as remote:
        request = httpx.Request("GET", remote.url)
        assert handled(kind, request).request is request
        circuits.get("remote").force_open()
        with pytest.raises(CircuitOpenConnectError) as refused:
            handled(kind, request)
    assert refused.value.request is request


def test_a_refusal_for_want_of_a_place(client: Any) -> None:
    CircuitFactory.create(name="remote", max_concurrent=1)
    with serving(raw.good) as remote:
        response = client.open(remote.url)
        with pytest.raises(
            circuits.CircuitBusyError, match=r"^Too many calls to remote at"
        ) as busy:
            client.open(remote.url)
        assert len(remote.requests) == 1
        client.close(response)
        client.close(client.open(remote.url))
    assert isinstance(busy.value, CircuitBusyConnectError)
    assert isinstance(busy.value, httpx.ConnectError)
    assert type(pickle.loads(pickle.dumps(busy.value))) is CircuitBusyConnectError


# Names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "url", "expected"),
    [
        ("{host}", "http://user:secret@API.Example.com:8080/a?b", "api.example.com"),
        ("{host}:{port}", "http://api.example.com/", "api.example.com:80"),
        ("{scheme} {host} {port}", "https://api.example.com/", "https api.example.com 443"),
        (lambda request: f"pay {request.method} {request.url.path}", "http://a/b", "pay GET /b"),
    ],
)
def test_the_name(kind: Any, name: Any, url: str, expected: str) -> None:
    mock = httpx.MockTransport(lambda request: httpx.Response(200))
    with using(kind, mock, name) as client:
        client.request("GET", url)
    assert [circuit.name for circuit in Circuit.objects.all()] == [expected]


@pytest.mark.parametrize("name", ["", "{hostname}", "{host", 5])
def test_a_name_that_cannot_be_used_is_refused_at_once(kind: Any, name: Any) -> None:
    with pytest.raises(circuits.InvalidInputError):
        kind.transport(name=name)


@pytest.mark.parametrize("name", ["{host}", "{host} api", "{host}:{port}"])
@pytest.mark.parametrize("url", ["http://", "://example.org"])
def test_a_url_that_is_none_is_refused_as_by_httpx(
    kind: Any, name: str, url: str, outcomes: list[str]
) -> None:
    with using(kind, None, name) as client, pytest.raises(httpx.UnsupportedProtocol):
        client.request("GET", url)
    assert "failure" not in outcomes


@pytest.mark.parametrize("name", ["{host}", "{host} api", "{host}:{port}"])
def test_a_port_that_there_is_not_is_refused_as_by_httpx(name: str) -> None:
    # The async client of httpx raises a bare OverflowError in a group, with and without circuits.
    url = httpx.URL("http://127.0.0.1").copy_with(port=123456)
    with using(SyncClient, None, name) as client, pytest.raises(httpx.ConnectError):
        client.request("GET", url)


# What counts -----------------------------------------------------------------------------------


def test_failure_statuses_come_back_untouched_and_count(client: Any, outcomes: list[str]) -> None:
    def answer(request: raw.Request) -> Iterator[bytes]:
        yield raw.whole(b"the reason", "X-Code: 7", status=f"{request.path[1:]} Status")

    with serving(answer) as remote:
        for status in (200, 404, 429, 500, 503):
            response = client.request("GET", f"{remote.url}/{status}")
            assert (response.status_code, response.content) == (status, b"the reason")
            assert (response.headers["X-Code"], response.reason_phrase) == ("7", "Status")
    assert outcomes == ["success", "success", "success", "failure", "failure"]
    row = Circuit.objects.get(name="remote")
    assert (row.failure_count, row.last_error) == (2, f"HTTP 503 from {remote.url}/503")


def test_a_failed_status_is_settled_before_its_body(client: Any, outcomes: list[str]) -> None:
    with serving(lambda request: [raw.whole(b"why", status="500 Oops")]) as remote:
        response = client.open(remote.url)
        assert outcomes == ["failure"]
        assert client.read(response, "read") == b"why"
    assert outcomes == ["failure"]


def test_is_failure_decides_in_place_of_the_statuses(kind: Any, outcomes: list[str]) -> None:
    def is_failure(response: httpx.Response) -> bool:
        return response.headers["X-Bad"] == "yes" and response.url.path == "/"

    with using(kind, None, "remote", is_failure) as client:
        with serving(lambda request: [raw.whole(b"", "X-Bad: yes")]) as remote:
            client.request("GET", remote.url)
        with serving(lambda request: [raw.whole(b"", "X-Bad: no", status="500 Oops")]) as remote:
            client.request("GET", remote.url)
    assert outcomes == ["failure", "success"]


def test_is_failure_may_read_the_body(outcomes: list[str]) -> None:
    transport = CircuitTransport(
        name="remote", is_failure=lambda response: response.read() == b"no"
    )
    with httpx.Client(transport=transport) as client:
        with serving(lambda request: [raw.whole(b"no")]) as remote:
            assert client.get(remote.url).content == b"no"
        with serving(lambda request: [raw.whole(b"yes")]) as remote:
            assert client.get(remote.url).content == b"yes"
        assert outcomes == ["failure", "success"]
        with serving(raw.cut) as remote, pytest.raises(httpx.RemoteProtocolError):
            client.get(remote.url)
    assert outcomes == ["failure", "success", "failure"]


def test_an_error_in_is_failure_gives_permit_and_connection_back(
    kind: Any, outcomes: list[str]
) -> None:
    inner = kind.inner(limits=httpx.Limits(max_connections=1))

    def is_failure(response: httpx.Response) -> bool:
        raise KeyError("the caller's own")

    with using(kind, inner, "remote", is_failure, timeout=1) as client, serving(raw.good) as remote:
        for _ in range(2):
            with pytest.raises(KeyError):
                client.request("GET", remote.url)
    assert outcomes == ["ignored", "ignored"]


def test_retry_after_is_heeded(client: Any) -> None:
    CircuitFactory.create(name="remote", respect_retry_after=True)
    busy = raw.whole(b"", "Retry-After: 120", status="429 Too Many Requests")
    with serving(lambda request: [busy]) as remote:
        assert client.request("GET", remote.url).status_code == 429
        with pytest.raises(circuits.CircuitOpenError) as refused:
            client.request("GET", remote.url)
    assert 110 < refused.value.retry_after <= 120


def test_connection_errors_are_raised_untouched_and_count(client: Any, outcomes: list[str]) -> None:
    with serving(raw.good) as remote:
        pass
    with pytest.raises(httpx.ConnectError) as failed:
        client.request("GET", remote.url)
    assert type(failed.value) is httpx.ConnectError
    assert outcomes == ["failure"]


def test_timeouts_are_raised_untouched_and_count(client: Any, outcomes: list[str]) -> None:
    def never(request: raw.Request) -> Iterator[bytes]:
        request.stopped.wait(raw.PATIENCE)
        yield b""

    with serving(never) as remote, pytest.raises(httpx.ReadTimeout):
        client.request("GET", remote.url, timeout=SHORT)
    assert outcomes == ["failure"]


def test_the_callers_mistakes_count_as_nothing(client: Any, outcomes: list[str]) -> None:
    CircuitFactory.create(name="remote", expired=True)
    with pytest.raises(httpx.UnsupportedProtocol):
        client.request("GET", "ftp://127.0.0.1/")
    with serving(raw.good) as remote, pytest.raises(httpx.LocalProtocolError):
        client.request("GET", remote.url, headers={"X-Bad": "a\nb"})
    assert outcomes == ["ignored", "ignored"]
    assert circuits.get("remote").state == "half_open"


def test_connects_that_are_tried_again_are_one_call(kind: Any, outcomes: list[str]) -> None:
    steps: list[str] = []

    def trace(step: str, info: dict[str, Any]) -> None:
        steps.append(step)

    async def atrace(step: str, info: dict[str, Any]) -> None:
        steps.append(step)

    extensions = {"trace": atrace if kind is AsyncClient else trace}
    with serving(raw.good) as remote:
        pass
    with using(kind, kind.inner(retries=1), "remote") as client, pytest.raises(httpx.ConnectError):
        client.request("GET", remote.url, extensions=extensions)
    assert steps.count("connection.connect_tcp.started") == 2
    assert outcomes == ["failure"]


# Bodies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [raw.good, raw.good_chunks, raw.good_gzip])
def test_a_body_read_to_its_end(client: Any, answer: raw.Answer, outcomes: list[str]) -> None:
    with serving(answer) as remote:
        for reader in READERS:
            response = client.open(remote.url)
            assert outcomes == [], reader
            assert client.read(response, reader)
            assert outcomes == ["success"], reader
            client.close(response)
            assert outcomes.pop() == "success"
        assert client.request("GET", remote.url).text == "first\nsecond\n"
        assert outcomes == ["success"]
        assert remote.connections == 1


@pytest.mark.parametrize(
    "answer", [raw.cut, raw.cut_chunks, raw.bad_chunk, raw.bad_gzip, raw.silent]
)
def test_a_body_that_breaks(
    client: Any, answer: raw.Answer, outcomes: list[str], kind: Any
) -> None:
    CircuitFactory.create(name="remote", threshold=1000)
    timeout = SHORT if answer is raw.silent else raw.PATIENCE
    readers = [reader for reader in READERS if (answer, reader) != (raw.bad_gzip, "iter_raw")]
    with serving(answer) as remote, using(kind, None, "remote", timeout=timeout) as client:
        with pytest.raises(httpx.RequestError) as expected:
            httpx.get(remote.url, timeout=timeout)
        for reader in readers:
            response = client.open(remote.url)
            with pytest.raises(expected.type):
                client.read(response, reader)
            assert outcomes == ["failure"], reader
            client.close(response)
            del response
            gc.collect()
            assert outcomes.pop() == "failure"
        with pytest.raises(expected.type):
            client.request("GET", remote.url)
    assert outcomes == ["failure"]
    row = Circuit.objects.get(name="remote")
    assert row.failure_count == len(readers) + 1
    assert row.last_error.startswith(expected.type.__name__)


def test_a_stream_read_without_a_client(outcomes: list[str]) -> None:
    async def read(url: str) -> list[bytes]:
        async with AsyncCircuitTransport(name="remote") as transport:
            response = await transport.handle_async_request(httpx.Request("GET", url))
            assert isinstance(response.stream, httpx.AsyncByteStream)
            parts = [part async for part in response.stream]
            assert outcomes == ["success"]
            await response.aclose()
            return parts

    with serving(raw.good) as remote:
        assert b"".join(asyncio.run(read(remote.url))) == b"first\nsecond\n"
    assert outcomes == ["success"]


def test_broken_bodies_open_the_circuit(client: Any) -> None:
    CircuitFactory.create(name="remote", threshold=3)
    with serving(raw.cut) as remote:
        for _ in range(3):
            with pytest.raises(httpx.RemoteProtocolError):
                client.request("GET", remote.url)
        with pytest.raises(circuits.CircuitOpenError):
            client.request("GET", remote.url)
        assert len(remote.requests) == 3


@pytest.mark.parametrize("parts", [0, 1])
def test_a_body_closed_early_is_an_answer(client: Any, parts: int, outcomes: list[str]) -> None:
    with serving(raw.good) as remote:
        response = client.open(remote.url)
        body = client.start(response)
        assert [next(body) for _ in range(parts)] == [b"first\n"] * parts
        assert outcomes == []
        client.close(response)
        assert outcomes == ["success"]
        del response, body
        gc.collect()
    assert outcomes == ["success"]


@pytest.mark.filterwarnings("ignore:.*")  # httpx and asyncio warn of what was left open
@pytest.mark.parametrize("parts", [0, 1])
def test_a_dropped_body_is_settled_once(kind: Any, parts: int, outcomes: list[str]) -> None:
    CircuitFactory.create(name="remote", expired=True)
    with serving(raw.good) as remote, using(kind) as client:
        response = client.open(remote.url)
        body = client.start(response)
        assert [next(body) for _ in range(parts)] == [b"first\n"] * parts
        del response, body
        gc.collect()

        def is_closed() -> bool:
            client.breathe()
            gc.collect()  # a generator that was closed leaves a cycle behind
            return circuits.get("remote").state == "closed"

        wait_until(is_closed)
    assert outcomes == ["success"]


def test_a_trial_lasts_until_its_body_ends(client: Any) -> None:
    CircuitFactory.create(name="remote", expired=True)
    gate = raw.Gate()
    with serving(gate) as remote:
        response = client.open(remote.url)
        parts = client.start(response)
        assert next(parts) == b"first\n"
        assert Circuit.objects.get(name="remote").state == "half_open"
        with pytest.raises(circuits.CircuitOpenError):
            client.open(remote.url)
        gate.opened.set()
        assert list(parts) == [b"second", b"\n"]
        assert Circuit.objects.get(name="remote").state == "closed"
        assert len(remote.requests) == 1


def test_a_trial_whose_body_breaks_opens_the_circuit_again(client: Any) -> None:
    CircuitFactory.create(name="remote", expired=True)
    with serving(raw.cut) as remote, pytest.raises(httpx.RemoteProtocolError):
        client.request("GET", remote.url)
    row = Circuit.objects.get(name="remote")
    assert (row.state, row.transitions.latest("generation").reason) == ("open", "trial_failed")


@pytest.mark.parametrize("begun", [False, True])
def test_cancellation_gives_the_permit_back(begun: bool, outcomes: list[str]) -> None:
    CircuitFactory.create(name="remote", expired=True)
    started = asyncio.Event()

    def never(request: raw.Request) -> Iterator[bytes]:
        request.stopped.wait(raw.PATIENCE)
        yield b""

    async def read(client: httpx.AsyncClient, url: str) -> None:
        async with client.stream("GET", url) as response:
            async for _ in response.aiter_bytes():
                started.set()

    async def scenario(remote: raw.RawServer) -> None:
        transport = AsyncCircuitTransport(name="remote")
        async with httpx.AsyncClient(transport=transport, timeout=raw.PATIENCE) as client:
            task = asyncio.create_task(read(client, remote.url))
            if begun:
                await started.wait()
            await asyncio.to_thread(wait_until, lambda: remote.requests)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with serving(raw.Gate() if begun else never) as remote:
        asyncio.run(scenario(remote))
    assert outcomes == ["ignored"]
    with serving(raw.good) as remote, httpx.Client(transport=CircuitTransport(None, "remote")) as c:
        assert c.get(remote.url).status_code == 200
    assert circuits.get("remote").state == "closed"


def test_the_event_loop_is_not_blocked_while_a_body_is_on_its_way(outcomes: list[str]) -> None:
    """Many streams are read at once on one loop, and all end together."""
    gate = raw.Gate()

    async def scenario(url: str) -> list[httpx.Response]:
        transport = AsyncCircuitTransport(name="remote")
        async with httpx.AsyncClient(transport=transport, timeout=raw.PATIENCE) as client:
            calls = [asyncio.create_task(client.get(url)) for _ in range(20)]
            await asyncio.to_thread(wait_until, lambda: len(remote.requests) == 20)
            gate.opened.set()
            return await asyncio.gather(*calls)

    with serving(gate) as remote:
        assert {each.content for each in asyncio.run(scenario(remote.url))} == {b"first\nsecond\n"}
    assert outcomes == ["success"] * 20


def test_a_response_already_read_is_settled_at_once(kind: Any, outcomes: list[str]) -> None:
    mock = httpx.MockTransport(lambda request: httpx.Response(200, json={"ok": True}))
    with using(kind, mock, "remote") as client:
        response = client.open("http://a/")
        assert outcomes == ["success"]
        assert json.loads(client.read(response, "read")) == {"ok": True}
    assert outcomes == ["success"]


def test_a_response_can_be_pickled(client: Any) -> None:
    with serving(raw.good_gzip) as remote:
        response = client.request("GET", remote.url)
    copy = pickle.loads(pickle.dumps(response))
    assert (copy.status_code, copy.text) == (200, "first\nsecond\n")
    assert b"".join(copy.iter_bytes()) == b"first\nsecond\n"


# What httpx does -------------------------------------------------------------------------------


def test_each_hop_of_a_redirect_is_a_call_named_by_its_own_host(
    kind: Any, outcomes: list[str]
) -> None:
    with serving(raw.good) as there:
        moved = raw.whole(b"gone", f"Location: {there.url}/new", status="302 Found")
        with (
            serving(lambda request: [moved]) as here,
            using(kind, None, "{host}:{port}", follow_redirects=True) as client,
        ):
            response = client.request("GET", f"{here.url}/old")
            names = [url.removeprefix("http://") for url in (here.url, there.url)]
            assert response.content == b"first\nsecond\n"
            assert [str(hop.url) for hop in response.history] == [f"{here.url}/old"]
            assert sorted(row.name for row in Circuit.objects.all()) == sorted(names)
            assert outcomes == ["success", "success"]

            circuits.get(names[1]).force_open()
            with pytest.raises(circuits.CircuitOpenError) as refused:
                client.request("GET", f"{here.url}/old")
            assert refused.value.name == names[1]
            assert (len(here.requests), len(there.requests)) == (2, 1)


def test_cookies(kind: Any) -> None:
    def answer(request: raw.Request) -> Iterator[bytes]:
        if request.path == "/":
            yield raw.whole(b"", "Location: /next", "Set-Cookie: a=1", status="302 Found")
        else:
            yield raw.whole(b"", "Set-Cookie: b=2; Path=/")

    with (
        serving(answer) as remote,
        using(kind, None, "remote", follow_redirects=True) as client,
    ):
        response = client.request("GET", remote.url)
        client.request("GET", f"{remote.url}/last")
        assert remote.requests[1].headers["Cookie"] == "a=1"
        assert remote.requests[2].headers["Cookie"] == "a=1; b=2"
        assert dict(response.cookies) == {"b": "2"}


def test_digest_auth_sends_again_through_the_circuit(client: Any, outcomes: list[str]) -> None:
    def answer(request: raw.Request) -> Iterator[bytes]:
        if "Authorization" in request.headers:
            yield raw.whole(b"inside")
        else:
            asks = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"'
            yield raw.whole(b"who?", asks, status="401 Unauthorized")

    with serving(answer) as remote:
        response = client.request("GET", remote.url, auth=httpx.DigestAuth("user", "secret"))
        assert (response.content, len(remote.requests)) == (b"inside", 2)
    assert outcomes == ["success", "success"]


@pytest.mark.parametrize(
    ("send", "content_type", "body"),
    [
        ({"json": {"a": 1}}, "application/json", b'"a"'),
        ({"data": {"a": "1"}}, "application/x-www-form-urlencoded", b"a=1"),
        ({"content": "parts"}, "None", b"in parts"),
        ({"files": {"f": ("a.txt", b"hello")}}, "multipart/form-data; boundary=", b"hello\r\n"),
    ],
)
def test_bodies_that_are_sent(
    client: Any, kind: Any, send: dict[str, Any], content_type: str, body: bytes
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"in "
        yield b"parts"

    if "content" in send:
        send = {"content": parts() if kind is AsyncClient else iter([b"in ", b"parts"])}
    with serving(lambda request: [raw.whole(b'{"ok": true}')]) as remote:
        assert client.request("POST", remote.url, **send).json() == {"ok": True}
        (request,) = remote.requests
        assert f"{request.headers['Content-Type']}".startswith(content_type)
        assert body in request.body


def test_basic_auth_and_head(client: Any, outcomes: list[str]) -> None:
    with serving(lambda request: [raw.head(length=10)]) as remote:
        response = client.request("HEAD", remote.url, auth=("user", "secret"))
        assert (response.headers["Content-Length"], response.content) == ("10", b"")
        assert remote.requests[0].headers["Authorization"].startswith("Basic ")
    assert outcomes == ["success"]


@pytest.mark.parametrize("answer", [raw.good, raw.good_chunks, raw.good_gzip])
def test_connections_are_kept(client: Any, answer: raw.Answer) -> None:
    with serving(answer) as remote:
        for _ in range(3):
            client.request("GET", remote.url)
        assert (len(remote.requests), remote.connections) == (3, 1)


def test_elapsed_and_http_version(client: Any) -> None:
    with serving(raw.good) as remote:
        response = client.request("GET", remote.url)
    assert response.elapsed.total_seconds() > 0
    assert response.http_version == "HTTP/1.1"


def test_closing_a_client_closes_the_inner_transport(kind: Any) -> None:
    closed: list[str] = []

    class Inner(kind.inner):  # type: ignore[misc]
        def close(self) -> None:
            closed.append("sync")

        async def aclose(self) -> None:
            closed.append("async")

    with using(kind, Inner(), "remote"):
        pass
    assert len(closed) == 1


# The inner transport's life ----------------------------------------------------------------------


class Living(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """An inner transport, sync or async, that records what is done with it."""

    def __init__(self) -> None:
        self.life: list[str] = []
        self.left_by: tuple[object, ...] = ()

    def __enter__(self) -> Living:
        self.life.append("entered")
        return self

    def __exit__(self, kind: object = None, error: object = None, traceback: object = None) -> None:
        self.life.append("left")
        self.left_by = kind, error, traceback

    async def __aenter__(self) -> Living:
        return self.__enter__()

    async def __aexit__(
        self, kind: object = None, error: object = None, traceback: object = None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def close(self) -> None:
        self.life.append("closed")

    async def aclose(self) -> None:
        self.close()


def test_a_client_enters_and_leaves_the_inner_transport_once() -> None:
    inner, error = Living(), KeyError("the caller's own")
    with (
        pytest.raises(KeyError),
        httpx.Client(transport=CircuitTransport(inner, "remote")),
    ):
        raise error
    assert inner.life == ["entered", "left"]
    assert inner.left_by[:2] == (KeyError, error)
    assert isinstance(inner.left_by[2], TracebackType)


async def test_an_async_client_enters_and_leaves_the_inner_transport_once() -> None:
    inner, error = Living(), KeyError("the caller's own")
    with pytest.raises(KeyError):
        async with httpx.AsyncClient(transport=AsyncCircuitTransport(inner, "remote")):
            raise error
    assert inner.life == ["entered", "left"]
    assert inner.left_by[:2] == (KeyError, error)
    assert isinstance(inner.left_by[2], TracebackType)


def test_what_enters_a_transport_gets_that_transport() -> None:
    with CircuitTransport(Living(), "remote") as transport:
        assert isinstance(transport, CircuitTransport)


async def test_what_enters_an_async_transport_gets_that_transport() -> None:
    async with AsyncCircuitTransport(Living(), "remote") as transport:
        assert isinstance(transport, AsyncCircuitTransport)


def test_who_closes_without_entering_closes_the_inner_transport(kind: Any) -> None:
    inner = Living()
    with using(kind, inner, "remote"):
        pass
    assert inner.life == ["closed"]


@pytest.mark.parametrize("kind", [circuits.CircuitTransport, circuits.AsyncCircuitTransport])
def test_a_name_in_the_place_of_a_transport_is_told_where_it_belongs(kind: Any) -> None:
    sentence = (
        "^'payments' is no transport of httpx, which comes first; write name='payments' for the "
        r"circuit's name\.$"
    )
    with pytest.raises(circuits.InvalidInputError, match=sentence):
        kind("payments")


def test_a_refusal_by_this_process_alone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise circuits.CircuitOpenError("payments", 2.0, is_alone=True)

    monkeypatch.setattr("circuits.calls.transports.begin_own", refuse)
    with (
        httpx.Client(transport=CircuitTransport(name="payments")) as client,
        pytest.raises(CircuitOpenConnectError) as refused,
    ):
        client.get("http://pay.example/charge")
    error = refused.value
    assert (error.name, error.retry_after, error.is_alone) == ("payments", 2.0, True)
    assert error.request.url == "http://pay.example/charge"
