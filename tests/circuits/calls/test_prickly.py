"""An exception that raises when it is inspected: it passes unchanged, and its place is released."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NoReturn

import httpx
import pytest
import requests
from celery.exceptions import Retry
from requests.adapters import HTTPAdapter

import circuits
from circuits.calls.celery import circuit_task
from circuits.models import Circuit
from tests.factories import CircuitFactory
from tests.remotes import answer, remote_that

pytestmark = pytest.mark.usefixtures("committed")

NAME = "payments"


class PricklyError(Exception):
    """An exception that raises whenever an attribute of it is read or set."""

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("__"):  # Python itself sets those
            raise AttributeError(name)
        super().__setattr__(name, value)

    @property
    def response(self) -> Any:
        raise ZeroDivisionError

    @property
    def code(self) -> Any:
        raise RuntimeError

    @property
    def status(self) -> Any:
        raise KeyError


#: The exceptions that were raised.
ERRORS: list[PricklyError] = []


def sting(*args: object, **kwargs: object) -> NoReturn:
    ERRORS.append(PricklyError("it stings"))
    raise ERRORS[-1]


async def asting(*args: object, **kwargs: object) -> Any:
    sting()


class Adapter(HTTPAdapter):
    send = sting


class Transport(httpx.BaseTransport):
    handle_request = sting


class AsyncTransport(httpx.AsyncBaseTransport):
    handle_async_request = asting


def body() -> Iterator[bytes]:
    yield b"some of it"
    sting()


async def abody() -> AsyncIterator[bytes]:
    yield b"some of it"
    sting()


def by_is_failure(url: str) -> None:
    circuits.call(NAME, url, is_failure=sting)


def by_hook(url: str) -> None:
    circuits.call(NAME, url, hooks={"response": sting})


def by_body(url: str) -> None:
    circuits.call(NAME, url, method="POST", data=body())


def by_is_failure_of_acall(url: str) -> None:
    asyncio.run(circuits.acall(NAME, url, is_failure=sting))


def by_async_is_failure(url: str) -> None:
    asyncio.run(circuits.acall(NAME, url, is_failure=asting))


def by_async_body(url: str) -> None:
    asyncio.run(circuits.acall(NAME, url, method="POST", content=abody()))


def by_block(url: str) -> None:
    with circuits.guard(NAME):
        sting()


def by_async_block(url: str) -> None:
    async def block() -> None:
        async with circuits.guard(NAME):
            sting()

    asyncio.run(block())


def by_function(url: str) -> None:
    circuits.protect(NAME)(sting)()


def by_async_function(url: str) -> None:
    asyncio.run(circuits.protect(NAME)(asting)())


def by_breaker(url: str) -> None:
    circuits.CircuitBreaker(sting, exceptions=(KeyError,), name=NAME).make_remote_call()


def by_breaker_that_names_it(url: str) -> None:
    with pytest.raises(circuits.RemoteCallFailedException) as failed:
        circuits.CircuitBreaker(sting, name=NAME).make_remote_call()
    assert failed.value.__cause__ is not None
    raise failed.value.__cause__


def by_adapter(url: str) -> None:
    with requests.Session() as session:
        session.mount("http://", circuits.CircuitAdapter(NAME, adapter=Adapter()))
        session.get(url)


def by_transport(url: str) -> None:
    with httpx.Client(transport=circuits.CircuitTransport(Transport(), NAME)) as client:
        client.get(url)


def by_async_transport(url: str) -> None:
    async def get() -> None:
        transport = circuits.AsyncCircuitTransport(AsyncTransport(), NAME)
        async with httpx.AsyncClient(transport=transport) as client:
            await client.get(url)

    asyncio.run(get())


def by_task(url: str) -> None:
    circuit_task(NAME, name="tests.prickly")(sting)()


@circuit_task(NAME, name="tests.prickly_retry")
def retry_for_it() -> NoReturn:
    try:
        sting()
    except PricklyError as error:
        raise Retry(exc=error) from None


@circuit_task(NAME, name="tests.prickly_polling")
def retry_while_it_is_handled() -> NoReturn:
    try:
        sting()
    except PricklyError:
        raise Retry  # noqa: B904 - as a task does that names no exception


def by_retry_for_it(url: str) -> None:
    with pytest.raises(Retry) as raised:
        retry_for_it()
    assert isinstance(raised.value.exc, PricklyError)
    raise raised.value.exc


def by_retry_while_it_is_handled(url: str) -> None:
    with pytest.raises(Retry) as raised:
        retry_while_it_is_handled()
    assert raised.value.__context__ is not None
    raise raised.value.__context__


#: The ways to call, and whether an exception that nobody has named counts there.
WAYS: dict[Callable[[str], None], bool] = {
    by_is_failure: False,
    by_body: False,
    by_is_failure_of_acall: False,
    by_async_is_failure: False,
    by_async_body: False,
    by_block: True,
    by_async_block: True,
    by_function: True,
    by_async_function: True,
    by_breaker: False,
    by_breaker_that_names_it: True,
    by_adapter: False,
    by_transport: False,
    by_async_transport: False,
    by_task: True,
    by_retry_for_it: True,
    by_retry_while_it_is_handled: True,
}


def row() -> Any:
    circuits.flush()
    return Circuit.objects.get(name=NAME)


def goes_through(way: Callable[[str], None]) -> None:
    """Raise the exception inside the circuit, and check that it comes out unchanged."""
    with remote_that(answer()) as remote, pytest.raises(PricklyError) as raised:
        way(remote.url)
    assert raised.value is ERRORS.pop()
    assert not ERRORS


@pytest.mark.parametrize(("way", "counts"), WAYS.items())
def test_it_goes_through_and_the_place_is_free(way: Callable[[str], None], counts: bool) -> None:
    CircuitFactory(name=NAME, max_concurrent=1)
    for _ in range(2):
        goes_through(way)
    with circuits.guard(NAME):
        pass
    assert (row().total_failures, row().total_successes) == (2 * counts, 1)


@pytest.mark.parametrize(("way", "counts"), WAYS.items())
def test_a_trial_that_ends_with_it_gives_its_lease_back(
    way: Callable[[str], None], counts: bool
) -> None:
    CircuitFactory(name=NAME, expired=True, delay=600, max_concurrent=1)
    goes_through(way)
    assert (row().state, row().leases) == ("open" if counts else "half_open", [])
    if not counts:
        with circuits.guard(NAME):
            pass
        assert row().state == "closed"


def test_of_a_hook_it_goes_through_after_the_answer_has_counted() -> None:
    CircuitFactory(name=NAME, expired=True, max_concurrent=1)
    goes_through(by_hook)
    assert (row().state, row().total_successes, row().leases) == ("closed", 1, [])


@pytest.mark.parametrize("status", [503, 200])
def test_of_a_fallback_it_goes_through_too(status: int) -> None:
    CircuitFactory(
        name=NAME, threshold=1, delay=600, mode="forced_open" if status == 200 else "automatic"
    )
    with remote_that(answer(status)) as remote:
        for _ in range(2):
            with pytest.raises(PricklyError) as raised:
                circuits.call(NAME, remote.url, fallback=sting)
            assert raised.value is ERRORS.pop()
    assert row().total_failures == (status == 503)
