"""Streamed answers under requests: the outcome is settled once, when the body ends."""

from __future__ import annotations

import gc
import io
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from threading import Event, Thread, current_thread
from typing import Any

import pytest
import requests
import urllib3

import circuits
from circuits.calls import abandoned, adapters
from circuits.models import Circuit
from tests.circuits.calls import raw_server as raw
from tests.circuits.calls.raw_server import SHORT, serving
from tests.concurrency import wait_until
from tests.factories import CircuitFactory
from tests.resolver import Resolver

pytestmark = pytest.mark.usefixtures("committed")

Open = Callable[..., requests.Response]


@pytest.fixture
def outcomes() -> Iterator[list[str]]:
    with raw.hearing() as heard:
        yield heard


@pytest.fixture(params=["call", "adapter"])
def stream(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Return each function that opens a stream through the circuit ``remote``."""
    if request.param == "call":
        yield partial(circuits.call, "remote", stream=True, timeout=raw.PATIENCE)
        return
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, circuits.CircuitAdapter("remote"))
        yield partial(session.get, stream=True, timeout=raw.PATIENCE)


def decoded(response: requests.Response) -> Any:
    response.raw.decode_content = True
    return response.raw


def into(response: requests.Response) -> bytes:
    read = b""
    buffer = bytearray(5)
    while size := decoded(response).readinto(buffer):
        read += buffer[:size]
    return read


def copied(response: requests.Response) -> bytes:
    target = io.BytesIO()
    shutil.copyfileobj(decoded(response), target)
    return target.getvalue()


def patched(response: requests.Response) -> bytes:
    """Read a body with urllib3's decoding turned on, as is commonly done."""
    body: Any = response.raw
    body.read = partial(body.read, decode_content=True)
    return bytes(body.read())


READERS: dict[str, Callable[[requests.Response], bytes]] = {
    "content": lambda response: response.content,
    "iter_content": lambda response: b"".join(response.iter_content(3)),
    "iter_lines": lambda response: b"\n".join(response.iter_lines(3)) + b"\n",
    "read": lambda response: bytes(response.raw.read(decode_content=True)),
    "read in parts": lambda response: b"".join(iter(lambda: decoded(response).read(3), b"")),
    "readinto": into,
    "copyfileobj": copied,
    "patched read": patched,
    "stream": lambda response: b"".join(response.raw.stream(3, decode_content=True)),
    "iteration": lambda response: b"".join(response.raw),
    "data": lambda response: bytes(decoded(response).data),
    "buffered": lambda response: io.BufferedReader(decoded(response)).read(),
}

REMOTE_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError)

#: Bodies that break, and the readers that reach the point at which they do.
BREAKS: dict[raw.Answer, dict[str, Any]] = {
    raw.cut: {},
    raw.cut_chunks: {},
    raw.bad_chunk: {},
    raw.bad_gzip: {},
    raw.silent: {"timeout": SHORT},
}


@pytest.mark.parametrize("answer", [raw.good, raw.good_chunks, raw.good_gzip])
def test_a_body_read_to_its_end(stream: Open, answer: raw.Answer, outcomes: list[str]) -> None:
    with serving(answer) as remote:
        for reader, read in READERS.items():
            response = stream(remote.url)
            assert outcomes == [], reader
            assert read(response) == b"first\nsecond\n", reader
            assert outcomes == ["success"], reader
            response.close()
            assert outcomes.pop() == "success"
    assert outcomes == []


@pytest.mark.parametrize("answer", [raw.good, raw.good_chunks, raw.good_gzip])
def test_a_call_that_does_not_stream_is_settled_when_it_returns(
    answer: raw.Answer, outcomes: list[str]
) -> None:
    with serving(answer) as remote:
        response = circuits.call("remote", remote.url)
        assert outcomes == ["success"]
        assert response.content == b"first\nsecond\n"


@pytest.mark.parametrize("answer", BREAKS)
def test_a_body_that_breaks(stream: Open, answer: raw.Answer, outcomes: list[str]) -> None:
    CircuitFactory.create(name="remote", threshold=1000)
    options = {"timeout": raw.PATIENCE, **BREAKS[answer]}
    readers = ["content", "read", "stream", "iteration"] if answer is raw.silent else list(READERS)
    with serving(answer) as remote:
        for reader in readers:
            read = READERS[reader]
            plain = requests.get(remote.url, stream=True, **options)
            with plain, pytest.raises(REMOTE_ERRORS) as expected:
                read(plain)
            with stream(remote.url, **options) as response:
                with pytest.raises(expected.type):
                    read(response)
                assert outcomes == ["failure"], reader
            del response
            gc.collect()
            assert outcomes.pop() == "failure"
    assert outcomes == []
    row = Circuit.objects.get(name="remote")
    assert row.failure_count == len(readers)
    assert row.last_error


@pytest.mark.parametrize("reader", ["content", "read", "stream", "iteration"])
def test_a_body_whose_encryption_breaks(
    stream: Open, outcomes: list[str], resolver: Resolver, reader: str
) -> None:
    resolver.knows[raw.TLS_HOST] = "127.0.0.1"
    with serving(raw.broken_tls, tls=True) as remote:
        response = stream(f"https://{raw.TLS_HOST}:{remote.port}/", verify=raw.CA_FILE)
        with response, pytest.raises(REMOTE_ERRORS, match="SSL"):
            READERS[reader](response)
    assert outcomes == ["failure"]


def test_chunks_read_raw(stream: Open, outcomes: list[str]) -> None:
    with serving(raw.good_chunks) as remote:
        assert list(stream(remote.url).raw.read_chunked()) == [b"first\n", b"second\n"]
    with serving(raw.cut_chunks) as remote, pytest.raises(urllib3.exceptions.ProtocolError):
        list(stream(remote.url).raw.read_chunked())
    assert outcomes == ["success", "failure"]


def test_broken_bodies_open_the_circuit(stream: Open) -> None:
    CircuitFactory.create(name="remote", threshold=3)
    with serving(raw.cut) as remote:
        for _ in range(3):
            with pytest.raises(requests.exceptions.ChunkedEncodingError):
                _ = stream(remote.url).content
        with pytest.raises(circuits.CircuitOpenError):
            stream(remote.url)
        assert len(remote.requests) == 3


def closed(response: requests.Response) -> None:
    response.close()


def left_by_with(response: requests.Response) -> None:
    with response:
        next(response.iter_content(3))


def raw_closed(response: requests.Response) -> None:
    response.raw.read(3)
    response.raw.close()


def raw_left_by_with(response: requests.Response) -> None:
    with response.raw as body:
        body.read(3)


def left_by_closing(response: requests.Response) -> None:
    with closing(response):
        next(response.iter_lines(3))


def left_by_error(response: requests.Response) -> None:
    with pytest.raises(KeyError), response:
        raise KeyError("the caller's own")


@pytest.mark.parametrize(
    "leave", [closed, left_by_with, raw_closed, raw_left_by_with, left_by_closing, left_by_error]
)
def test_a_body_closed_early_is_an_answer(
    stream: Open, leave: Callable[[requests.Response], None], outcomes: list[str]
) -> None:
    with serving(raw.good) as remote:
        response = stream(remote.url)
        leave(response)
        assert outcomes == ["success"]
        response.close()
        del response
        gc.collect()
    assert outcomes == ["success"]


def test_breaking_out_of_a_loop_settles_nothing_yet(stream: Open, outcomes: list[str]) -> None:
    with serving(raw.good) as remote:
        response = stream(remote.url)
        for _ in response.iter_content(3):
            break
        gc.collect()
        assert outcomes == []
        assert response.raw.read() == b"st\nsecond\n"
    assert outcomes == ["success"]


def never_read(response: requests.Response) -> None:
    pass


def half_read(response: requests.Response) -> None:
    next(response.iter_content(3))


def in_a_cycle(response: requests.Response) -> None:
    response.itself = response  # type: ignore[attr-defined]


def with_a_patch(response: requests.Response) -> None:
    body: Any = response.raw
    body.read = partial(body.read, decode_content=True)


@pytest.mark.filterwarnings("ignore:.*socket")  # the collector finds an open one
@pytest.mark.parametrize("use", [never_read, half_read, in_a_cycle, with_a_patch])
def test_a_dropped_body_is_settled_once(
    stream: Open, use: Callable[[requests.Response], object], outcomes: list[str]
) -> None:
    with serving(raw.good) as remote:
        response = stream(remote.url)
        use(response)
        del response
        gc.collect()
        wait_until(lambda: outcomes)
    assert outcomes == ["success"]


def test_a_read_outlives_its_response(stream: Open, outcomes: list[str]) -> None:
    with serving(raw.good) as remote:
        read = stream(remote.url).raw.read
        parts = stream(remote.url).raw.stream(3)
        gc.collect()
        assert (read(), b"".join(parts)) == (b"first\nsecond\n",) * 2
        wait_until(lambda: len(outcomes) == 2)
    assert outcomes == ["success", "success"]


def test_a_dropped_trial_gives_its_place_back(stream: Open) -> None:
    CircuitFactory.create(name="remote", expired=True)
    with serving(raw.good) as remote:
        stream(remote.url)
        wait_until(lambda: circuits.get("remote").state == "closed")


def test_concurrency_places_are_held_until_the_end_and_come_back(stream: Open) -> None:
    CircuitFactory.create(name="remote", max_concurrent=1)
    with serving(raw.good) as remote:
        for leave in (closed, left_by_with, READERS["content"]):
            response = stream(remote.url)
            with pytest.raises(circuits.CircuitBusyError):
                stream(remote.url)
            leave(response)
        stream(remote.url)  # dropped

        def has_room() -> bool:
            try:
                stream(remote.url).close()
            except circuits.CircuitBusyError:
                return False
            return True

        wait_until(has_room)


def test_a_trial_lasts_until_its_body_ends(stream: Open) -> None:
    CircuitFactory.create(name="remote", expired=True)
    gate = raw.Gate()
    with serving(gate) as remote:
        with stream(remote.url) as response:
            parts = response.iter_content(6)
            assert next(parts) == b"first\n"
            assert Circuit.objects.get(name="remote").state == "half_open"
            with pytest.raises(circuits.CircuitOpenError):
                stream(remote.url)
            gate.opened.set()
            assert list(parts) == [b"second", b"\n"]
            assert Circuit.objects.get(name="remote").state == "closed"
        assert len(remote.requests) == 1


def test_a_trial_whose_body_breaks_opens_the_circuit_again(stream: Open) -> None:
    CircuitFactory.create(name="remote", expired=True)
    with serving(raw.cut) as remote, pytest.raises(requests.exceptions.ChunkedEncodingError):
        _ = stream(remote.url).content
    row = Circuit.objects.get(name="remote")
    assert (row.state, row.transitions.latest("generation").reason) == ("open", "trial_failed")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_an_exception_that_is_not_the_remotes_gives_the_permit_back(
    stream: Open, error: type[BaseException], outcomes: list[str]
) -> None:
    CircuitFactory.create(name="remote", expired=True)

    def interrupted(*args: object, **kwargs: object) -> bytes:
        raise error

    with serving(raw.Gate()) as remote, stream(remote.url) as response:
        fp: Any = response.raw._fp
        fp.read = interrupted
        with pytest.raises(error):
            _ = response.content
    assert outcomes == ["ignored"]
    # The trial's place is free: the next call is let through.
    with serving(raw.good) as remote:
        assert stream(remote.url).content == b"first\nsecond\n"
    assert circuits.get("remote").state == "closed"


def test_answers_that_are_settled_at_once(outcomes: list[str]) -> None:
    with requests.Session() as session:
        session.mount("http://", circuits.CircuitAdapter("remote"))

        def settled(answer: raw.Answer, method: str = "GET") -> tuple[requests.Response, str]:
            with serving(answer) as remote:
                response = session.request(method, remote.url, stream=True)
                return response, outcomes.pop()

        failed, outcome = settled(lambda request: [raw.whole(status="500 Oops")])
        assert (failed.status_code, failed.content, outcome) == (500, b"first\nsecond\n", "failure")
        assert settled(lambda request: [raw.head(status="204 No Content")])[1] == "success"
        assert settled(lambda request: [raw.head(length=5)], "HEAD")[1] == "success"
        assert settled(lambda request: [raw.whole(b"")])[1] == "success"
    assert outcomes == []


def test_a_body_of_a_failure_that_breaks_counts_once(outcomes: list[str]) -> None:
    def answer(request: raw.Request) -> Iterator[bytes]:
        yield raw.head(status="500 Oops", length=100) + b"first"
        raise raw.Cut

    with serving(answer) as remote, requests.Session() as session:
        session.mount("http://", circuits.CircuitAdapter("remote"))
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            session.get(remote.url)
    assert outcomes == ["failure"]
    assert Circuit.objects.get(name="remote").failure_count == 1


def test_a_failed_status_of_call_raises_at_once(outcomes: list[str]) -> None:
    with serving(lambda request: [raw.whole(status="503 Busy")]) as remote:
        with pytest.raises(circuits.RemoteCallFailedException, match="HTTP 503") as failed:
            circuits.call("remote", remote.url, stream=True)
        assert failed.value.response.content == b"first\nsecond\n"
    assert outcomes == ["failure"]


def test_the_callers_own_time_is_not_the_remotes_slowness(
    stream: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    CircuitFactory.create(name="remote", slow_call_seconds=0.25, threshold=1)
    with serving(raw.good) as remote:
        response = stream(remote.url)
        parts = response.iter_content(6)
        next(parts)
        Event().wait(SHORT)  # the caller at work
        list(parts)
        with stream(remote.url):
            Event().wait(SHORT)
    assert circuits.get("remote").state == "closed"


def test_the_remotes_slow_body_is_a_slow_call(stream: Open) -> None:
    CircuitFactory.create(name="remote", slow_call_seconds=0.1, threshold=1)

    def answer(request: raw.Request) -> Iterator[bytes]:
        yield raw.head(length=13) + b"first\n"
        request.stopped.wait(0.12)
        yield b"second\n"

    with serving(answer) as remote:
        assert stream(remote.url).content == b"first\nsecond\n"
    assert circuits.get("remote").state == "open"


def test_raw_is_in_all_else_what_it_wraps(stream: Open) -> None:
    with serving(raw.good) as remote:
        response = stream(remote.url)
        body = response.raw
        assert (body.status, body.headers["Content-Length"], body.closed) == (200, "13", False)
        assert body.readable()
        assert not hasattr(body, "nothing")
        assert hasattr(body, "stream")
        body.release_conn()
        response.close()
        assert body.closed
        assert pickle.loads(pickle.dumps(response)).status_code == 200


def test_a_body_that_is_not_urllib3s_is_settled_at_once(outcomes: list[str]) -> None:
    class Files(requests.adapters.HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *a: Any, **k: Any) -> requests.Response:
            response = requests.Response()
            response.status_code, response.raw = 200, io.BytesIO(b"from memory")
            return response

    with requests.Session() as session:
        session.mount("http://", adapters.CircuitAdapter(adapter=Files()))
        response = session.get("http://files/", stream=True)
        assert outcomes == ["success"]
        assert response.content == b"from memory"
    assert outcomes == ["success"]


def test_the_thread_for_dropped_bodies_survives_an_error_and_is_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done = Event()

    class Thing:
        pass

    def fail() -> None:
        settling.append(current_thread())
        raise RuntimeError("settling failed")

    def settle() -> None:
        settling.append(current_thread())
        done.set()

    settling: list[Thread] = []
    abandoned.when_dropped(Thing(), fail)
    abandoned.when_dropped(Thing(), settle)
    assert done.wait(raw.PATIENCE)
    first, second = settling
    assert first is second is not current_thread()
    assert (first.name, first.daemon) == ("circuits-leftovers", True)
    assert "Could not settle a call whose answer was dropped." in caplog.messages


def test_a_process_that_ends_settles_nothing_more() -> None:
    assert not abandoned.when_dropped(Event(), Event().set).atexit


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_a_thread_of_its_own_for_dropped_bodies() -> None:
    class Thing:
        pass

    def settled() -> bool:
        done = Event()
        abandoned.when_dropped(Thing(), done.set)
        return done.wait(raw.PATIENCE)

    assert settled()
    child = os.fork()
    if child == 0:
        os._exit(0 if settled() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
