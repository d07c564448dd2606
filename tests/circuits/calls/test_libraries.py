"""What the exceptions of other libraries count as, with the real libraries if they are installed.

``make test-services`` installs aiohttp, botocore and gRPC; without them, look-alikes are used.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

import circuits
from circuits.calls.failures import Failures
from circuits.calls.libraries import GRPC_STATUSES, OWN, STATUS, headers_of, own_kind, status_of
from circuits.models import Circuit
from circuits.process.observers import CallOutcome
from tests.factories import CircuitFactory
from tests.remotes import answer, nobody, remote_that

SERVER_ERRORS = frozenset(range(500, 600))

NOT_FOUND_XML = b"<Error><Code>NoSuchKey</Code><Message>There is none.</Message></Error>"


@pytest.mark.usefixtures("committed")  # where a server is, all of them are
@pytest.mark.parametrize("name", sorted({*STATUS, *OWN}))
def test_each_name_is_that_of_a_class(name: str) -> None:
    module, _, class_name = name.rpartition(".")
    pytest.importorskip(module.partition(".")[0])
    kind = getattr(importlib.import_module(module), class_name)
    assert f"{kind.__module__}.{kind.__qualname__}" == name
    assert issubclass(kind, BaseException)


# Look-alikes


def like(name: str, base: type[Exception] = Exception, **attributes: Any) -> Exception:
    """Return an exception with the name and attributes of one of a library."""
    module, _, class_name = name.rpartition(".")
    kind = type(class_name, (base,), {"__module__": module, **attributes})
    error = kind("as it is")
    assert isinstance(error, Exception)
    return error


def of_aiohttp(status: object) -> Exception:
    return like("aiohttp.client_exceptions.ClientResponseError", status=status)


def of_botocore(status: object) -> Exception:
    metadata = {"HTTPStatusCode": status, "RequestId": "1"}
    return like("botocore.exceptions.ClientError", response={"ResponseMetadata": metadata})


def of_grpc(name: str) -> Exception:
    code = SimpleNamespace(name=name, value=(5, name.lower()))
    return like("grpc.RpcError", code=lambda self: code)


@pytest.mark.parametrize("make", [of_aiohttp, of_botocore])
@pytest.mark.parametrize(
    ("status", "expected"), [(404, 404), (500, 500), (304, 304), (200, None), ("404", None)]
)
def test_the_status_is_read(
    make: Callable[[object], Exception], status: object, expected: int | None
) -> None:
    assert status_of(make(status)) == expected


def test_the_headers_are_read() -> None:
    wait = {"retry-after": "45"}
    metadata = {"HTTPStatusCode": 503, "HTTPHeaders": wait}
    name = "botocore.exceptions.ClientError"
    for error in (
        like(name, response={"ResponseMetadata": metadata}),
        like("aiohttp.client_exceptions.ClientResponseError", status=503, headers=wait),
    ):
        assert headers_of(error)["Retry-After"] == "45"


@pytest.mark.parametrize("headers", [None, 5, [("Retry-After", "45")], {5: 5}])
def test_headers_that_cannot_be_read_are_none(headers: object) -> None:
    error = like("aiohttp.client_exceptions.ClientResponseError", status=503, headers=headers)
    assert headers_of(error) == {}
    assert headers_of(ConnectionError("down")) == {}


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("NOT_FOUND", CallOutcome.SUCCESS),
        ("INVALID_ARGUMENT", CallOutcome.SUCCESS),
        ("RESOURCE_EXHAUSTED", CallOutcome.SUCCESS),
        ("UNAVAILABLE", CallOutcome.FAILURE),
        ("DEADLINE_EXCEEDED", CallOutcome.FAILURE),
        ("INTERNAL", CallOutcome.FAILURE),
        ("CANCELLED", CallOutcome.IGNORED),
        ("SOMETHING_NEW", CallOutcome.FAILURE),
    ],
)
def test_a_code_of_grpc_counts_by_its_http_status(name: str, outcome: CallOutcome) -> None:
    assert Failures().judge(of_grpc(name), SERVER_ERRORS) is outcome


def test_a_call_of_grpc_that_was_given_up_counts_if_just_that_is_named() -> None:
    error = of_grpc("CANCELLED")
    assert own_kind(error) is type(error)
    assert Failures(type(error)).judge(error, SERVER_ERRORS) is CallOutcome.FAILURE


def test_a_loop_of_redirects_is_no_answer() -> None:
    error = like("aiohttp.client_exceptions.TooManyRedirects", type(of_aiohttp(302)))
    assert status_of(error) is None
    assert Failures().judge(error, SERVER_ERRORS) is CallOutcome.FAILURE


def test_a_subclass_is_what_its_library_makes_of_it() -> None:
    missing = like("app.NoSuchKey", type(of_botocore(404)))
    assert status_of(missing) == 404


@pytest.mark.parametrize(
    "name",
    ["aiohttp.client_exceptions.InvalidURL", "botocore.exceptions.ParamValidationError"],
)
def test_the_callers_own_mistake_is_known(name: str) -> None:
    error = like(name, ValueError)
    assert own_kind(error) is type(error)
    assert Failures().judge(error, SERVER_ERRORS) is CallOutcome.IGNORED


# The libraries themselves


def run(result: Any) -> Any:
    """Return the result of a call, async or not."""
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


async def with_aiohttp(url: str) -> None:
    aiohttp = pytest.importorskip("aiohttp")
    session = aiohttp.ClientSession(raise_for_status=True)
    async with session, circuits.guard("storage"):
        await session.get(url)


def with_botocore(url: str) -> None:
    botocore = pytest.importorskip("botocore.session")
    config = pytest.importorskip("botocore.config").Config(
        retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
    )
    client = botocore.get_session().create_client(
        "s3",
        region_name="eu-west-1",
        endpoint_url=url,
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=config,
    )
    circuits.protect("storage")(client.get_object)(Bucket="bucket", Key="key")


def row() -> Any:
    circuits.flush()
    return Circuit.objects.get(name="storage")


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("get", [with_aiohttp, with_botocore])
@pytest.mark.parametrize(
    ("status", "state"), [(403, "closed"), (404, "closed"), (500, "open"), (503, "open")]
)
def test_a_status_that_is_raised_counts_as_if_it_were_returned(
    get: Callable[[str], Any], status: int, state: str
) -> None:
    CircuitFactory(name="storage", expired=True)
    with (
        remote_that(answer(status, NOT_FOUND_XML)) as remote,
        pytest.raises(Exception, match=f"{status}|NoSuchKey") as raised,
    ):
        run(get(remote.url))
    assert type(raised.value).__module__.split(".")[0] in ("aiohttp", "botocore")
    assert row().state == state


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("get", [with_aiohttp, with_botocore])
def test_nobody_there_is_a_failure(get: Callable[[str], Any]) -> None:
    CircuitFactory(name="storage", expired=True)
    with nobody() as url, pytest.raises(Exception, match="connect"):
        run(get(url))
    assert row().state == "open"


@pytest.mark.usefixtures("committed")
def test_mistakes_made_with_the_libraries_say_nothing() -> None:
    CircuitFactory(name="storage", expired=True)
    aiohttp = pytest.importorskip("aiohttp")
    with pytest.raises(aiohttp.InvalidURL):
        run(with_aiohttp("http://"))
    with pytest.raises(aiohttp.NonHttpUrlClientError):
        run(with_aiohttp("ftp://example.com/"))
    assert (row().state, row().leases) == ("half_open", [])


@contextmanager
def grpc_server(code: str) -> Iterator[str]:
    """Serve a method that ends with a status code, and yield the server's address."""
    grpc = pytest.importorskip("grpc")

    def end(request: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode[code], "as it is")
        return b""

    server = grpc.server(ThreadPoolExecutor(1))
    methods = {"Get": grpc.unary_unary_rpc_method_handler(end)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("storage", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def with_grpc(address: str) -> None:
    grpc = pytest.importorskip("grpc")
    with grpc.insecure_channel(address) as channel:
        circuits.protect("storage")(channel.unary_unary("/storage/Get"))(b"key", timeout=20)


async def with_grpc_aio(address: str) -> None:
    aio = pytest.importorskip("grpc.aio")
    async with aio.insecure_channel(address) as channel, circuits.guard("storage"):
        await channel.unary_unary("/storage/Get")(b"key", timeout=20)


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("get", [with_grpc, with_grpc_aio])
@pytest.mark.parametrize(("code", "state"), [("NOT_FOUND", "closed"), ("UNAVAILABLE", "open")])
def test_a_call_of_grpc_counts_by_its_code(
    get: Callable[[str], Any], code: str, state: str
) -> None:
    CircuitFactory(name="storage", expired=True)
    with grpc_server(code) as address, pytest.raises(pytest.importorskip("grpc").RpcError):
        run(get(address))
    assert row().state == state


@pytest.mark.usefixtures("committed")
def test_every_code_of_grpc_has_a_status_but_for_the_one_of_the_caller() -> None:
    grpc = pytest.importorskip("grpc")
    assert {code.name for code in grpc.StatusCode} - GRPC_STATUSES.keys() == {"OK", "CANCELLED"}
