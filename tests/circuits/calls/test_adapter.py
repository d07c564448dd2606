"""Circuits under requests: a session behaves as it always does, and is protected."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import HTTPDigestAuth
from urllib3 import HTTPResponse
from urllib3.util.retry import Retry

import circuits
from circuits import CircuitAdapter
from circuits.calls.adapters import CircuitBusyConnectionError, CircuitOpenConnectionError
from circuits.models import Circuit
from mockapi.hits import hits
from tests.circuits.calls import raw_server as raw
from tests.circuits.calls.raw_server import SHORT, serving
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def outcomes() -> Iterator[list[str]]:
    with raw.hearing() as heard:
        yield heard


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A session protected by the circuit ``remote``."""
    with requests.Session() as session:
        mount(session, CircuitAdapter("remote"))
        yield session


def mount(session: requests.Session, adapter: CircuitAdapter) -> None:
    session.mount("http://", adapter)
    session.mount("https://", adapter)


class Fake(BaseAdapter):
    """An inner adapter that gives a set answer and records its arguments."""

    def __init__(self, result: requests.Response | BaseException | None = None) -> None:
        super().__init__()
        self.result = result or ok()
        self.sent: list[tuple[str | None, dict[str, Any]]] = []
        self.closed = False

    def send(  # type: ignore[override]
        self, request: requests.PreparedRequest, **options: Any
    ) -> requests.Response:
        self.sent.append((request.url, options))
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result

    def close(self) -> None:
        self.closed = True


def ok() -> requests.Response:
    response = requests.Response()
    response.status_code = 200
    return response


def get_with(adapter: CircuitAdapter, url: str, **options: Any) -> requests.Response:
    with requests.Session() as session:
        mount(session, adapter)
        return session.get(url, **options)


# An SDK, and refusals ------------------------------------------------------------------------


class Sdk:
    """A typical client of a vendor, with its own session and its own exceptions."""

    class Unavailable(Exception):  # noqa: N818 - theirs
        pass

    def __init__(self, base: str) -> None:
        self.base = base
        self.session = requests.Session()

    def fetch(self, path: str) -> Any:
        try:
            response = self.session.get(f"{self.base}/{path}", timeout=raw.PATIENCE)
        except requests.ConnectionError as error:
            raise self.Unavailable from error
        response.raise_for_status()
        return response.json()


def test_an_sdk_is_protected_without_knowing(remote: str) -> None:
    sdk = Sdk(remote)
    sdk.session.mount("http://", CircuitAdapter())
    CircuitFactory.create(name="127.0.0.1", threshold=3)
    assert sdk.fetch("success")["status"] == "ok"
    for _ in range(3):
        with pytest.raises(requests.HTTPError, match="500"):
            sdk.fetch("faulty")
    with pytest.raises(Sdk.Unavailable) as refused:
        sdk.fetch("success")
    assert isinstance(refused.value.__cause__, circuits.CircuitOpenError)
    assert (hits.snapshot()["success"], hits.snapshot()["faulty"]) == (1, 3)
    sdk.session.close()


def test_a_refusal_is_a_refusal_and_a_connection_error(session: requests.Session) -> None:
    CircuitFactory.create(name="remote", opened=True)
    with pytest.raises(
        circuits.CircuitOpenError, match=r"(?m)^Retry after \d\d\.\d\d secs$"
    ) as refused:
        session.get("http://127.0.0.1:1/charge")
    error = refused.value
    assert isinstance(error, CircuitOpenConnectionError)
    assert isinstance(error, requests.ConnectionError)
    assert isinstance(error, circuits.RemoteCallFailedException)
    assert not isinstance(error, circuits.CircuitBusyError)
    assert error.name == "remote"
    assert 50 < error.retry_after <= 60
    assert error.response is None
    assert isinstance(error.request, requests.PreparedRequest)
    assert error.request.url == "http://127.0.0.1:1/charge"
    assert error.__cause__ is None


def test_a_refusal_can_be_pickled(session: requests.Session) -> None:
    CircuitFactory.create(name="remote", opened=True)
    with pytest.raises(CircuitOpenConnectionError) as refused:
        session.get("http://127.0.0.1:1/charge")
    copy = pickle.loads(pickle.dumps(refused.value))
    assert type(copy) is CircuitOpenConnectionError
    assert (copy.name, copy.retry_after) == ("remote", refused.value.retry_after)
    assert str(copy) == str(refused.value)
    assert isinstance(copy.request, requests.PreparedRequest)
    assert copy.request.url == "http://127.0.0.1:1/charge"
    assert CircuitOpenConnectionError("remote", 8.691).request is None
    assert str(CircuitOpenConnectionError("remote", 8.691)) == "Retry after 8.69 secs"


def test_a_refusal_for_want_of_a_place(session: requests.Session) -> None:
    CircuitFactory.create(name="remote", max_concurrent=1)
    with serving(raw.good) as remote, session.get(remote.url, stream=True):
        with pytest.raises(
            circuits.CircuitBusyError, match=r"^Too many calls to remote at"
        ) as busy:
            session.get(remote.url)
        assert len(remote.requests) == 1
    assert isinstance(busy.value, CircuitBusyConnectionError)
    assert isinstance(busy.value, requests.ConnectionError)
    copy = pickle.loads(pickle.dumps(busy.value))
    assert (type(copy), str(copy)) == (CircuitBusyConnectionError, str(busy.value))


def test_a_refusal_inside_a_guard_says_nothing_about_the_guards_remote(
    session: requests.Session,
) -> None:
    CircuitFactory.create(name="remote", opened=True)
    CircuitFactory.create(name="outer", threshold=1)
    with pytest.raises(circuits.CircuitOpenError), circuits.guard("outer"):
        session.get("http://127.0.0.1:1/")
    assert circuits.get("outer").state == "closed"


# Names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "url", "expected"),
    [
        ("{host}", "http://API.Example.com:8080/a?b", "api.example.com"),
        ("{host}", "http://user:secret@api.example.com/", "api.example.com"),
        ("{host}", "http://[::1]:8080/", "::1"),
        ("{host}:{port}", "http://api.example.com:8080/", "api.example.com:8080"),
        ("{host}:{port}", "http://api.example.com/", "api.example.com:80"),
        ("{scheme} {host} {port}", "https://api.example.com/", "https api.example.com 443"),
        ("payments", "http://api.example.com/", "payments"),
        ("pay {{ments}}", "http://api.example.com/", "pay {ments}"),
        (lambda request: f"pay {request.method} {request.path_url}", "http://a/b", "pay GET /b"),
    ],
)
def test_the_name(name: Any, url: str, expected: str) -> None:
    get_with(CircuitAdapter(name, adapter=Fake()), url)
    assert [circuit.name for circuit in Circuit.objects.all()] == [expected]


def test_the_name_is_the_host_by_default() -> None:
    get_with(CircuitAdapter(adapter=Fake()), "http://api.example.com/")
    assert Circuit.objects.get().name == "api.example.com"


@pytest.mark.parametrize(
    "name", ["", "{hostname}", "{0}", "{}", "{host", "host}", 5, None, "a" * 101]
)
def test_a_name_that_cannot_be_used_is_refused_at_once(name: Any) -> None:
    with pytest.raises(circuits.InvalidInputError):
        CircuitAdapter(name)


@pytest.mark.parametrize("name", ["{host}", "{host} api", "{host}:{port}"])
def test_a_url_that_is_none_is_refused_as_by_requests(
    session: requests.Session, name: str, outcomes: list[str]
) -> None:
    mount(session, CircuitAdapter(name))
    bad = raw.whole(b"", "Location: http://:1", status="302 Found")
    with serving(lambda request: [bad]) as remote, pytest.raises(requests.exceptions.InvalidURL):
        session.get(remote.url)
    assert outcomes[:1] == ["success"]
    assert "failure" not in outcomes


# What counts -----------------------------------------------------------------------------------


def test_failure_statuses_come_back_untouched_and_count(
    session: requests.Session, outcomes: list[str]
) -> None:
    def answer(request: raw.Request) -> Iterator[bytes]:
        yield raw.whole(b"the reason", "X-Code: 7", status=f"{request.path[1:]} Status")

    with serving(answer) as remote:
        for status in (200, 404, 429, 500, 503):
            response = session.get(f"{remote.url}/{status}")
            assert (response.status_code, response.content) == (status, b"the reason")
            assert response.headers["X-Code"] == "7"
    assert outcomes == ["success", "success", "success", "failure", "failure"]
    row = Circuit.objects.get(name="remote")
    assert (row.failure_count, row.last_error) == (2, f"HTTP 503 from {remote.url}/503")


def test_is_failure_decides_in_place_of_the_statuses(outcomes: list[str]) -> None:
    adapter = CircuitAdapter("remote", is_failure=lambda response: response.json()["bad"])
    with serving(lambda request: [raw.whole(b'{"bad": true}')]) as remote:
        assert get_with(adapter, remote.url).json() == {"bad": True}
    with serving(lambda request: [raw.whole(b'{"bad": false}', status="500 Oops")]) as remote:
        assert get_with(adapter, remote.url).json() == {"bad": False}
    assert outcomes == ["failure", "success"]


def test_retry_after_is_heeded(session: requests.Session) -> None:
    CircuitFactory.create(name="remote", respect_retry_after=True)
    busy = raw.whole(b"", "Retry-After: 120", status="429 Too Many Requests")
    with serving(lambda request: [busy]) as remote:
        assert session.get(remote.url).status_code == 429
        with pytest.raises(circuits.CircuitOpenError) as refused:
            session.get(remote.url)
    assert 110 < refused.value.retry_after <= 120


def test_connection_errors_are_raised_untouched_and_count(
    session: requests.Session, outcomes: list[str]
) -> None:
    with serving(raw.good) as remote:
        pass
    with pytest.raises(requests.ConnectionError) as failed:
        session.get(remote.url)
    assert not isinstance(failed.value, circuits.RemoteCallFailedException)
    assert outcomes == ["failure"]


def test_timeouts_are_raised_untouched_and_count(
    session: requests.Session, outcomes: list[str]
) -> None:
    def never(request: raw.Request) -> Iterator[bytes]:
        request.stopped.wait(raw.PATIENCE)
        yield b""

    with serving(never) as remote:
        with pytest.raises(requests.ReadTimeout):
            session.get(remote.url, timeout=SHORT)
        with pytest.raises(requests.ReadTimeout):
            session.get(remote.url, timeout=(1, SHORT))
    assert outcomes == ["failure", "failure"]


@pytest.mark.parametrize(
    "error", [requests.exceptions.InvalidHeader("x"), RuntimeError("x"), KeyboardInterrupt()]
)
def test_other_exceptions_pass_and_give_the_permit_back(
    error: BaseException, outcomes: list[str]
) -> None:
    CircuitFactory.create(name="remote", expired=True)
    with pytest.raises(type(error)) as raised:
        get_with(CircuitAdapter("remote", adapter=Fake(error)), "http://a/")
    assert raised.value is error
    assert outcomes == ["ignored"]
    get_with(CircuitAdapter("remote", adapter=Fake()), "http://a/")
    assert circuits.get("remote").state == "closed"


def test_an_adapter_in_an_adapter(outcomes: list[str]) -> None:
    CircuitFactory.create(name="inner", opened=True)
    adapter = CircuitAdapter("outer", adapter=CircuitAdapter("inner", adapter=Fake()))
    with pytest.raises(circuits.CircuitOpenError) as refused:
        get_with(adapter, "http://a/")
    assert refused.value.name == "inner"
    assert outcomes[-1] == "ignored"
    assert Circuit.objects.get(name="outer").failure_count == 0


# The inner adapter -------------------------------------------------------------------------------


def test_what_a_caller_asks_of_an_adapter_is_answered_by_the_inner_one() -> None:
    inner = HTTPAdapter()
    adapter = CircuitAdapter("remote", adapter=inner)
    assert adapter.poolmanager is inner.poolmanager
    assert adapter.proxy_manager is inner.proxy_manager
    response = adapter.build_response(requests.PreparedRequest(), HTTPResponse(status=204))
    assert response.status_code == 204
    for name in ("max_retires", "_pool_connections"):
        with pytest.raises(AttributeError, match=rf"^'\w+' object has no attribute '{name}'$"):
            getattr(adapter, name)


def test_what_a_caller_sets_on_an_adapter_reaches_the_inner_one(outcomes: list[str]) -> None:
    statuses = iter(["503 Busy", "200 OK"])
    adapter = CircuitAdapter("remote")
    adapter.max_retries = Retry(1, status_forcelist=[503], backoff_factor=0)
    with serving(lambda request: [raw.whole(b"", status=next(statuses))]) as remote:
        assert get_with(adapter, remote.url).status_code == 200
    assert outcomes == ["success"]


def test_a_session_can_be_pickled(session: requests.Session, outcomes: list[str]) -> None:
    with pickle.loads(pickle.dumps(session)) as copy, serving(raw.good) as remote:
        assert copy.get(remote.url).ok
    assert outcomes == ["success"]


def retrying(total: int, **options: Any) -> CircuitAdapter:
    retry = Retry(total, status_forcelist=[503], backoff_factor=0, **options)
    return CircuitAdapter("remote", adapter=HTTPAdapter(max_retries=retry))


def test_the_inner_adapters_retries_are_one_call(outcomes: list[str]) -> None:
    statuses = iter(["503 Busy", "503 Busy", "200 OK"])
    with serving(lambda request: [raw.whole(b"done", status=next(statuses))]) as remote:
        assert get_with(retrying(3), remote.url).content == b"done"
        assert len(remote.requests) == 3
    assert outcomes == ["success"]


def test_retries_that_come_to_nothing_are_one_failure(outcomes: list[str]) -> None:
    with serving(lambda request: [raw.whole(b"", status="503 Busy")]) as remote:
        with pytest.raises(requests.exceptions.RetryError):
            get_with(retrying(2), remote.url)
        assert len(remote.requests) == 3
        assert get_with(retrying(2, raise_on_status=False), remote.url).status_code == 503
    assert outcomes == ["failure", "failure"]


def test_retries_of_cut_connections_are_one_call(outcomes: list[str]) -> None:
    asked = iter(range(10))

    def answer(request: raw.Request) -> Iterator[bytes]:
        if next(asked) < 2:
            raise raw.Cut
        yield raw.whole(b"done")

    with serving(answer) as remote:
        assert get_with(retrying(3), remote.url).content == b"done"
        assert remote.connections == 3
    assert outcomes == ["success"]


def test_the_inner_adapter_gets_what_the_session_passes() -> None:
    inner = Fake()
    with requests.Session() as session:
        session.trust_env = False
        mount(session, CircuitAdapter("remote", adapter=inner))
        session.get(
            "https://a/",
            timeout=(1, 2),
            stream=True,
            verify="ca.pem",
            cert="own.pem",
            proxies={"https": "http://proxy"},
        )
    assert inner.closed
    ((url, options),) = inner.sent
    assert url == "https://a/"
    assert dict(options.pop("proxies")) == {"https": "http://proxy"}
    assert options == {"timeout": (1, 2), "stream": True, "verify": "ca.pem", "cert": "own.pem"}


def test_a_session_with_it_can_be_pickled() -> None:
    with requests.Session() as session, serving(raw.good) as remote:
        mount(session, CircuitAdapter("remote"))
        with pickle.loads(pickle.dumps(session)) as copy:
            assert copy.get(remote.url).content == b"first\nsecond\n"
    assert Circuit.objects.filter(name="remote").exists()


# What requests does ----------------------------------------------------------------------------


def test_each_hop_of_a_redirect_is_a_call_named_by_its_own_host(outcomes: list[str]) -> None:
    with serving(raw.good) as there:
        moved = raw.whole(b"gone", f"Location: {there.url}/new", status="302 Found")
        with serving(lambda request: [moved]) as here:
            adapter = CircuitAdapter("{host}:{port}")
            response = get_with(adapter, f"{here.url}/old")
            names = [url.removeprefix("http://") for url in (here.url, there.url)]
            assert response.content == b"first\nsecond\n"
            assert [hop.url for hop in response.history] == [f"{here.url}/old"]
            assert sorted(row.name for row in Circuit.objects.all()) == sorted(names)
            assert outcomes == ["success", "success"]

            circuits.get(names[1]).force_open()
            with pytest.raises(circuits.CircuitOpenError) as refused:
                get_with(adapter, f"{here.url}/old")
            assert refused.value.name == names[1]
            assert (len(here.requests), len(there.requests)) == (2, 1)


def test_redirects_are_left_alone_when_asked(session: requests.Session) -> None:
    moved = raw.whole(b"gone", "Location: /new", status="302 Found")
    with serving(lambda request: [moved]) as remote:
        response = session.get(remote.url, allow_redirects=False)
        assert (response.status_code, response.is_redirect) == (302, True)
        with pytest.raises(requests.TooManyRedirects):
            session.get(remote.url)


def test_cookies(session: requests.Session) -> None:
    def answer(request: raw.Request) -> Iterator[bytes]:
        if request.path == "/":
            yield raw.whole(b"", "Location: /next", "Set-Cookie: a=1", status="302 Found")
        else:
            yield raw.whole(b"", "Set-Cookie: b=2; Path=/")

    with serving(answer) as remote:
        response = session.get(remote.url)
        session.get(f"{remote.url}/last")
        assert remote.requests[1].headers["Cookie"] == "a=1"
        assert remote.requests[2].headers["Cookie"] == "a=1; b=2"
        assert dict(response.cookies) == {"b": "2"}


def test_basic_auth(session: requests.Session) -> None:
    with serving(raw.good) as remote:
        session.get(remote.url, auth=("user", "secret"))
        assert remote.requests[0].headers["Authorization"].startswith("Basic ")


def test_digest_auth_sends_again_through_the_circuit(
    session: requests.Session, outcomes: list[str]
) -> None:
    def answer(request: raw.Request) -> Iterator[bytes]:
        if "Authorization" in request.headers:
            yield raw.whole(b"inside")
        else:
            asks = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"'
            yield raw.whole(b"who?", asks, status="401 Unauthorized")

    with serving(answer) as remote:
        response = session.get(remote.url, auth=HTTPDigestAuth("user", "secret"))
        assert (response.content, len(remote.requests)) == (b"inside", 2)
        assert remote.connections == 1
    assert outcomes == ["success", "success"]


@pytest.mark.parametrize(
    ("send", "content_type", "body"),
    [
        ({"json": {"a": 1}}, "application/json", b'{"a": 1}'),
        ({"data": {"a": "1"}}, "application/x-www-form-urlencoded", b"a=1"),
        ({"data": iter([b"in ", b"parts"])}, "None", b"in parts"),
        ({"files": {"f": ("a.txt", b"hello")}}, "multipart/form-data; boundary=", b"hello\r\n"),
    ],
)
def test_bodies_that_are_sent(
    session: requests.Session, send: dict[str, Any], content_type: str, body: bytes
) -> None:
    with serving(lambda request: [raw.whole(b'{"ok": true}')]) as remote:
        assert session.post(remote.url, **send).json() == {"ok": True}
        (request,) = remote.requests
        assert request.method == "POST"
        assert f"{request.headers['Content-Type']}".startswith(content_type)
        assert body in request.body


def test_head(session: requests.Session, outcomes: list[str]) -> None:
    with serving(lambda request: [raw.head(length=10)]) as remote:
        response = session.head(remote.url)
        assert (response.headers["Content-Length"], response.content) == ("10", b"")
        assert remote.requests[0].method == "HEAD"
    assert outcomes == ["success"]


def use_whole(session: requests.Session, url: str) -> None:
    session.get(url)


def use_streamed(session: requests.Session, url: str) -> None:
    with session.get(url, stream=True) as response:
        list(response.iter_content(4))


@pytest.mark.parametrize("use", [use_whole, use_streamed])
@pytest.mark.parametrize("answer", [raw.good, raw.good_chunks, raw.good_gzip])
def test_connections_are_kept(
    session: requests.Session,
    use: Callable[[requests.Session, str], None],
    answer: raw.Answer,
) -> None:
    with serving(answer) as remote:
        for _ in range(3):
            use(session, remote.url)
        assert (len(remote.requests), remote.connections) == (3, 1)


def test_hooks_and_elapsed(session: requests.Session) -> None:
    seen: list[int] = []
    with serving(raw.good) as remote:
        response = session.get(
            remote.url, hooks={"response": lambda answer, **_: seen.append(len(answer.content))}
        )
    assert seen == [13]
    assert response.elapsed.total_seconds() > 0


def test_a_refusal_by_this_process_alone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise circuits.CircuitOpenError("payments", 2.0, is_alone=True)

    monkeypatch.setattr("circuits.calls.adapters.begin_own", refuse)
    with requests.Session() as session:
        session.mount("http://", CircuitAdapter("payments"))
        with pytest.raises(CircuitOpenConnectionError) as refused:
            session.get("http://pay.example/charge")
    error = refused.value
    assert (error.name, error.retry_after, error.is_alone) == ("payments", 2.0, True)
    assert error.request is not None
    assert error.request.url == "http://pay.example/charge"
