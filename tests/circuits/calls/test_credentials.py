"""Only credentials that were given for the call are sent."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from pytest_django import Settings

import circuits
from circuits.steering.probe import probe
from circuits.tasks import notify
from tests.factories import CircuitFactory
from tests.remotes import Remote, Request, answer, remote_that

pytestmark = pytest.mark.usefixtures("committed", "netrc")


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


NETRC = basic("netrc", "from-netrc")
ANN = basic("ann", "hunter2")


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write credentials for any host into the ``.netrc`` of the user who runs the process."""
    file = tmp_path / "netrc"
    file.write_text("default login netrc password from-netrc\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))


def reply(request: Request) -> bytes:
    """Redirect to another host or to the same one, as the request asks."""
    place, _, port = request.target[1:].partition(":")
    return answer(302, Location=f"http://{place}:{port}/") if port else answer()


@pytest.fixture
def recorder() -> Iterator[Remote]:
    with remote_that(reply) as remote:
        yield remote


def sent(remote: Remote) -> list[str | None]:
    """Return the credentials of each request that arrived."""
    return [request.headers["Authorization"] for request in remote.requests]


def test_a_probe_sends_none(recorder: Remote) -> None:
    CircuitFactory.create(name="payments", probe_url=f"{recorder.url}/health")
    assert probe("payments").outcome == "passed"
    assert sent(recorder) == [None]


def test_a_probe_sends_those_of_its_url(recorder: Remote) -> None:
    CircuitFactory.create(name="payments")
    assert probe("payments", recorder.url.replace("//", "//ann:hunter2@")).outcome == "passed"
    assert sent(recorder) == [ANN]


def test_the_webhook_is_sent_none(recorder: Remote, settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "NOTIFY": {"SECRET_WEBHOOK": recorder.url}}
    CircuitFactory.create(name="payments")
    circuits.get("payments").force_open()
    assert notify() == 1
    assert sent(recorder) == [None]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"headers": {"Authorization": "Bearer mine"}}, "Bearer mine"),
        ({"headers": {"authorization": "Bearer mine"}}, "Bearer mine"),
        ({"headers": {"Authorization": b"Bearer mine"}}, "Bearer mine"),
        ({"auth": ("ann", "hunter2")}, ANN),
        ({}, NETRC),
        ({"headers": {"X-Tenant": "acme"}}, NETRC),
    ],
)
def test_a_call_sends_what_its_caller_gave(
    recorder: Remote, how: dict[str, Any], expected: str
) -> None:
    circuits.call("payments", recorder.url, **how)
    assert sent(recorder) == [expected]


def test_a_call_sends_what_its_url_says(recorder: Remote) -> None:
    url = recorder.url.replace("//", "//ann:hunter2@")
    circuits.call("payments", url)
    circuits.call("payments", url, headers={"Authorization": "Bearer mine"})
    assert sent(recorder) == [ANN, "Bearer mine"]


def test_a_call_through_acall_sends_what_its_caller_gave(recorder: Remote) -> None:
    call = async_to_sync(circuits.acall)
    call("payments", recorder.url)
    call("payments", recorder.url, headers={"Authorization": "Bearer mine"})
    call("payments", recorder.url, auth=("ann", "hunter2"))
    assert sent(recorder) == [None, "Bearer mine", ANN]


def test_a_redirect_on_the_same_host_keeps_the_callers_header(recorder: Remote) -> None:
    here = recorder.url.removeprefix("http://")
    circuits.call("payments", f"{recorder.url}/{here}", headers={"Authorization": "Bearer mine"})
    assert sent(recorder) == ["Bearer mine"] * 2


@pytest.mark.parametrize("given", [{}, {"headers": {"Authorization": "Bearer mine"}}])
def test_a_redirect_to_another_host_takes_none_along(
    recorder: Remote, given: dict[str, Any]
) -> None:
    elsewhere = recorder.url.removeprefix("http://").replace("127.0.0.1", "localhost")
    circuits.call("payments", f"{recorder.url}/{elsewhere}", **given)
    first, second = sent(recorder)
    assert first
    assert second is None
