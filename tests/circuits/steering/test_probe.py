"""A probe: one real call through a circuit, over real HTTP."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from unittest.mock import Mock

import pytest
from django.db import OperationalError
from pytest_django import Settings

from circuits.exceptions import InvalidInputError
from circuits.models import Circuit
from circuits.steering.probe import probe
from mockapi.hits import hits
from tests.circuits.calls import raw_server as raw
from tests.circuits.calls.raw_server import SHORT, serving
from tests.concurrency import in_time
from tests.factories import CircuitFactory
from tests.resolver import Resolver

pytestmark = pytest.mark.usefixtures("committed")

Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def answering() -> Iterator[Callable[[Answer], str]]:
    """Yield a function that starts a remote, which takes its answers from a function."""
    servers = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_answer_passes(remote: str) -> None:
    CircuitFactory.create(name="payments")
    result = probe("payments", f"{remote}/success")
    assert (result.name, result.url) == ("payments", f"{remote}/success")
    assert (result.outcome, result.status, result.detail) == ("passed", 200, "")
    assert result.state == "closed"
    assert 0 < result.seconds < 10
    assert hits.snapshot()["success"] == 1


def test_the_circuit_shows_it_at_once(remote: str) -> None:
    CircuitFactory.create(name="payments")
    probe("payments", f"{remote}/success")
    circuit = Circuit.objects.get()
    assert circuit.last_success_at is not None
    assert circuit.total_successes == 1


def test_the_stored_url_is_the_default(remote: str) -> None:
    CircuitFactory.create(name="payments", probe_url=f"{remote}/success")
    assert probe("payments").url == f"{remote}/success"
    assert hits.snapshot()["success"] == 1


def test_a_client_error_is_an_answer(remote: str) -> None:
    CircuitFactory.create(name="payments")
    result = probe("payments", f"{remote}/slow?seconds=never")
    assert (result.outcome, result.status) == ("passed", 400)


def test_a_server_error_fails_and_counts(remote: str) -> None:
    CircuitFactory.create(name="payments", threshold=1)
    result = probe("payments", f"{remote}/faulty")
    assert (result.outcome, result.status) == ("failed", 500)
    assert result.detail == f"HTTP 500 from {remote}/faulty"
    assert result.state == "open"
    assert Circuit.objects.get().total_failures == 1


def test_no_answer_fails_without_a_status() -> None:
    CircuitFactory.create(name="payments")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        result = probe("payments", f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert (result.outcome, result.status) == ("failed", None)
    assert result.detail.startswith("Connection refused (ConnectionError: ")


def test_an_open_circuit_refuses(remote: str) -> None:
    CircuitFactory.create(name="payments", opened=True)
    result = probe("payments", f"{remote}/success")
    assert (result.outcome, result.status, result.state) == ("refused", None, "open")
    assert result.detail.startswith("Retry after ")
    assert hits.snapshot()["success"] == 0


def test_a_trial_that_passes_closes(remote: str) -> None:
    CircuitFactory.create(name="payments", expired=True)
    result = probe("payments", f"{remote}/success")
    assert (result.outcome, result.state) == ("passed", "closed")


def test_no_redirect_is_followed(remote: str, answering: Callable[[Answer], str]) -> None:
    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", f"{remote}/success")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    CircuitFactory.create(name="payments")
    result = probe("payments", answering(redirect))
    assert (result.outcome, result.status) == ("passed", 302)
    assert hits.snapshot()["success"] == 0


@pytest.mark.parametrize("status", [200, 500])
def test_a_body_without_end_is_not_read(answering: Callable[[Answer], str], status: int) -> None:
    def go_on(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.end_headers()
        handler.close_connection = True
        with suppress(ConnectionError):
            while True:
                handler.wfile.write(b"more " * 1000)

    CircuitFactory.create(name="payments")
    result = probe("payments", answering(go_on))
    assert result.status == status
    assert result.seconds < 5


def test_no_secret_is_shown(remote: str) -> None:
    CircuitFactory.create(name="payments")
    where = remote.replace("http://", "http://ann:hunter2@")
    for path in ("success", "faulty"):
        result = probe("payments", f" {where}/{path}?token=hunter2#hunter2 ")
        assert result.url == f"{remote}/{path}"
        assert "hunter2" not in repr(result)


@pytest.mark.parametrize(
    ("name", "url", "message"),
    [
        ("unknown", "http://127.0.0.1:9/", "There is no circuit named unknown."),
        ("unknown", None, "There is no circuit named unknown."),
        ("", None, "must have 1 to 100 characters"),
        ("payments", None, "payments has no probe URL; give one"),
        ("payments", "ftp://127.0.0.1/", "must begin with http:// or https://"),
        ("payments", "", "must begin with http:// or https://"),
        ("payments", "http://*.example/?token=hunter2", "The URL cannot be called: "),
        ("payments", f"http://{'a' * 64}.example/?token=hunter2", "The URL cannot be called: "),
    ],
)
def test_what_cannot_be_probed(name: str, url: str | None, message: str) -> None:
    CircuitFactory.create(name="payments")
    with pytest.raises(InvalidInputError, match=message) as refused:
        probe(name, url)
    assert "\n" not in str(refused.value)
    assert "hunter2" not in str(refused.value)
    circuit = Circuit.objects.get()  # no other was made
    assert (circuit.failure_count, circuit.total_failures) == (0, 0)


# Where it may go, and for how long


@pytest.fixture
def anywhere(settings: Settings) -> None:
    """Allow probes to any public host, without naming one, which is the default."""
    settings.CIRCUITS = {**settings.CIRCUITS, "PROBE_HOSTS": ["*"]}


HERE = [
    "http://127.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f.1:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://localhost:{port}/",
    "http://inside.example:{port}/",
]


@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize("url", HERE)
def test_this_machine_is_not_called_unless_it_is_named(url: str, resolver: Resolver) -> None:
    resolver.knows["inside.example"] = "127.0.0.1"
    CircuitFactory.create(name="payments", threshold=1, expired=True)
    with serving(raw.good) as remote:
        with pytest.raises(InvalidInputError, match="whose address is not a public one; add the"):
            probe("payments", url.format(port=remote.port))
        assert remote.connections == 0
    row = Circuit.objects.get()
    assert (row.total_failures, row.last_error) == (0, ""), "it says nothing about the remote"
    assert row.state in ("open", "half_open")
    # The trial it was let through for is given back: the next one need not wait for its lease.
    resolver.knows["outside.example"] = "1.1.1.1"
    resolver.led["1.1.1.1"] = "127.0.0.1"
    with serving(raw.good) as remote:
        assert probe("payments", f"http://outside.example:{remote.port}/").outcome == "passed"


@pytest.mark.parametrize("named", ["inside.example", ".example"])
def test_a_host_that_is_named_may_be_anywhere(
    settings: Settings, resolver: Resolver, named: str
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "PROBE_HOSTS": ["*", named]}
    resolver.knows["inside.example"] = "127.0.0.1"
    CircuitFactory.create(name="payments")
    with serving(raw.good) as remote:
        assert probe("payments", f"http://inside.example:{remote.port}/").outcome == "passed"
        with pytest.raises(InvalidInputError):
            probe("payments", f"http://127.0.0.1:{remote.port}/")


@pytest.mark.parametrize("where", sorted(set(raw.DRIPS) - {"body"}))
def test_who_drips_is_given_up(where: str) -> None:
    CircuitFactory.create(name="payments", timeout=SHORT)
    with serving(raw.DRIPS[where]()) as remote:
        result = in_time(lambda: probe("payments", remote.url), 20)
    assert (result.outcome, result.status) == ("failed", None)
    assert result.detail.startswith("ReadTimeout: ")
    assert SHORT <= result.seconds < 5


def test_the_body_of_a_redirect_is_not_read() -> None:
    CircuitFactory.create(name="payments", timeout=SHORT)
    head = raw.head("Location: /elsewhere", status="302 Found", length=10**9)
    with serving(raw.dripping([head, b"x", b"x"])) as remote:
        result = in_time(lambda: probe("payments", remote.url), 20)
        assert (result.outcome, result.status) == ("passed", 302)
        assert len(remote.requests) == 1


def test_a_tally_that_cannot_be_written_takes_nothing_away(
    remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    CircuitFactory.create(name="payments")
    monkeypatch.setattr(
        "circuits.steering.probe.flush", Mock(side_effect=OperationalError("locked"))
    )
    assert probe("payments", f"{remote}/success").outcome == "passed"
