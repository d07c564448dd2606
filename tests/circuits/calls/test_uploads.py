"""An error in the body that a caller sends does not count as a failure of the remote."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

import circuits
from circuits.models import Circuit
from tests.factories import CircuitFactory
from tests.remotes import Request, answer, echo, remote_that

pytestmark = pytest.mark.usefixtures("committed")


class BadFile(io.RawIOBase):
    """A file on a disk that fails after its first part."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.parts = [b"first"]

    def read(self, size: int = -1) -> bytes:
        if not self.parts:
            raise self.error
        return self.parts.pop()


class BadEncoder:
    """A body that can only be read, and not iterated over."""

    def __init__(self, error: Exception) -> None:
        self.read = BadFile(error).read


def bad_parts(error: Exception) -> Iterator[bytes]:
    yield b"first"
    raise error


async def bad_async_parts(error: Exception) -> AsyncIterator[bytes]:
    yield b"first"
    raise error


#: Makes each error anew, since an error that has been marked once stays so.
ERRORS: dict[str, Callable[[], Exception]] = {
    "OSError": lambda: OSError(5, "Input/output error"),
    "TimeoutError": lambda: TimeoutError("the network file system is slow"),
    "requests": lambda: requests.ConnectionError("another remote, passed on, broke off"),
    "httpx": lambda: httpx.ReadError("another remote, passed on, broke off"),
    "ValueError": lambda: ValueError("no bytes"),
}


def with_call(url: str, body: Any) -> None:
    circuits.call("payments", url, method="POST", data=body)


def with_an_adapter(url: str, body: Any) -> None:
    with requests.Session() as session:
        session.mount("http://", circuits.CircuitAdapter("payments"))
        session.post(url, data=body)


def with_an_adapter_in_a_guard(url: str, body: Any) -> None:
    with circuits.guard("other"):
        with_an_adapter(url, body)


def with_a_transport(url: str, body: Any) -> None:
    with httpx.Client(transport=circuits.CircuitTransport(name="payments")) as client:
        client.post(url, content=body)


@pytest.mark.parametrize("make", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("body", [BadFile, bad_parts])
@pytest.mark.parametrize(
    "send", [with_call, with_an_adapter, with_an_adapter_in_a_guard, with_a_transport]
)
def test_a_body_that_cannot_be_read_says_nothing(
    send: Callable[[str, Any], None],
    body: Callable[[Exception], Any],
    make: Callable[[], Exception],
) -> None:
    error = make()
    for name in ("payments", "other"):
        CircuitFactory(name=name, expired=True)
    # Requests makes a ConnectionError of any OSError, which is one too.
    raised = OSError if isinstance(error, OSError) else type(error)
    with remote_that(answer(), stays=False) as remote, pytest.raises(raised):
        send(remote.url, body(error))
    for name in ("payments", "other"):
        row = Circuit.objects.get(name=name)
        assert (row.total_failures, row.total_successes, row.leases) == (0, 0, []), name


@pytest.mark.parametrize("send", [with_call, with_an_adapter])
def test_a_body_that_can_only_be_read_says_nothing_either(send: Callable[[str, Any], None]) -> None:
    CircuitFactory(name="payments", expired=True)
    with remote_that(answer(), stays=False) as remote, pytest.raises(OSError, match="Input/output"):
        send(remote.url, BadEncoder(OSError(5, "Input/output error")))
    row = Circuit.objects.get(name="payments")
    assert (row.total_failures, row.total_successes, row.leases) == (0, 0, [])


@pytest.mark.parametrize("make", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("way", ["acall", "transport"])
async def test_an_async_body_that_cannot_be_read_says_nothing(
    way: str, make: Callable[[], Exception]
) -> None:
    error = make()
    await Circuit.objects.acreate(name="payments", threshold=1)
    body = bad_async_parts(error)
    with remote_that(answer(), stays=False) as remote:
        if way == "acall":
            with pytest.raises(type(error)):
                await circuits.acall("payments", remote.url, method="POST", content=body)
        else:
            transport = circuits.AsyncCircuitTransport(name="payments")
            async with httpx.AsyncClient(transport=transport) as client:
                with pytest.raises(type(error)):
                    await client.post(remote.url, content=body)
    row = await Circuit.objects.aget()
    assert (row.state, row.total_failures) == ("closed", 0)


def test_a_remote_that_cuts_an_upload_off_has_failed(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(5_000_000))
    with (
        remote_that(lambda request: b"") as remote,
        path.open("rb") as file,
        pytest.raises(circuits.RemoteCallFailedException),
    ):
        circuits.call("payments", remote.url, method="POST", data=file)
    assert Circuit.objects.get().total_failures == 1


@pytest.mark.parametrize("way", [with_call, with_an_adapter])
def test_all_kinds_of_bodies_are_sent_as_they_are(
    way: Callable[[str, Any], None], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes("zwölf".encode())
    with remote_that(echo) as remote, path.open("rb") as file:
        kinds = ["zwölf".encode(), {"a": "b"}, io.StringIO("ten"), file, memoryview(b"ten")]
        for body in kinds:
            way(remote.url, body)
        bodies = [request.body.decode() for request in remote.requests]
    assert bodies == ["zwölf", "a=b", "ten", "zwölf", "ten"]
    with remote_that(echo, stays=False) as remote:
        way(remote.url, iter([b"zw", b"olf"]))
        assert remote.requests[0].headers["Transfer-Encoding"] == "chunked"


@pytest.mark.parametrize("way", [with_call, with_an_adapter])
def test_a_file_is_never_read_as_a_whole(way: Callable[[str, Any], None]) -> None:
    class Watched(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            sizes.append(size)
            return super().read(size)

    sizes: list[int | None] = []
    with remote_that(answer()) as remote:
        way(remote.url, Watched(bytes(100_000)))
        assert len(remote.requests[0].body) == 100_000
    assert len(sizes) > 2
    assert -1 not in sizes


def test_a_file_is_sent_anew_where_a_redirect_leads(tmp_path: Path) -> None:
    def reply(request: Request) -> bytes:
        return answer(307, Location="/there") if request.target == "/here" else echo(request)

    path = tmp_path / "file"
    path.write_bytes(b"content")
    with remote_that(reply) as remote, path.open("rb") as file:
        response = circuits.call("payments", f"{remote.url}/here", method="POST", data=file)
        assert response.json()["body"] == "content"
        assert response.request.body is file
