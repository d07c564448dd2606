"""Async calls under trio's event loop, and where no event loop runs."""

from __future__ import annotations

import gc
import json
from collections.abc import Awaitable, Callable, Iterator
from threading import Event
from typing import Any

import httpx
import pytest
import trio

import circuits
from circuits import AsyncCircuitTransport
from circuits.models import Circuit
from circuits.process import runtime
from circuits.process.threads import in_thread
from tests.circuits.calls import raw_server as raw
from tests.circuits.calls.raw_server import serving
from tests.concurrency import PATIENCE, wait_until
from tests.factories import CircuitFactory
from tests.remotes import answer, remote_that

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def outcomes() -> Iterator[list[str]]:
    with raw.hearing() as heard:
        yield heard


async def by_acall(url: str) -> httpx.Response:
    response = await circuits.acall("remote", url)
    assert isinstance(response, httpx.Response)
    return response


async def by_transport(url: str) -> httpx.Response:
    transport = AsyncCircuitTransport(name="remote")
    async with httpx.AsyncClient(transport=transport) as client:
        return (await client.get(url)).raise_for_status()


async def by_guard(url: str) -> httpx.Response:
    async with circuits.guard("remote"), httpx.AsyncClient() as client:
        return (await client.get(url)).raise_for_status()


@circuits.protect("remote")
async def by_protect(url: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).raise_for_status()


Call = Callable[[str], Awaitable[httpx.Response]]

each_way = pytest.mark.parametrize("call", [by_acall, by_transport, by_guard, by_protect])


@each_way
def test_a_circuit_lives_under_trio(call: Call, remote: str) -> None:
    CircuitFactory.create(name="remote", threshold=2)

    async def main() -> None:
        assert (await call(f"{remote}/success")).json()["status"] == "ok"
        for _ in range(2):
            with pytest.raises((circuits.RemoteCallFailedException, httpx.HTTPStatusError)):
                await call(f"{remote}/faulty")
        with pytest.raises(circuits.CircuitOpenError):
            await call(f"{remote}/success")

    trio.run(main)
    assert Circuit.objects.get(name="remote").state == "open"


@each_way
def test_a_trial_closes_a_circuit_under_trio(call: Call, remote: str) -> None:
    CircuitFactory.create(name="remote", expired=True)
    trio.run(call, f"{remote}/success")
    assert Circuit.objects.get(name="remote").state == "closed"


@each_way
def test_a_trial_that_is_cancelled_under_trio_gives_its_lease_back(call: Call) -> None:
    CircuitFactory.create(name="remote", expired=True)
    asked = Event()

    def never(request: raw.Request) -> Iterator[bytes]:
        asked.set()
        request.stopped.wait(raw.PATIENCE)
        yield b""

    async def main(url: str) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, url)
            await trio.to_thread.run_sync(asked.wait, PATIENCE)
            nursery.cancel_scope.cancel()

    with serving(never) as remote:
        trio.run(main, remote.url)
    wait_until(lambda: Circuit.objects.get(name="remote").leases == [])


def test_many_at_once_read_the_circuit_together_under_trio(outcomes: list[str]) -> None:
    mock = httpx.MockTransport(lambda request: httpx.Response(200))

    async def main() -> None:
        transport = AsyncCircuitTransport(mock, "remote")
        async with httpx.AsyncClient(transport=transport) as client, trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(client.get, "http://a/")

    trio.run(main)
    assert outcomes == ["success"] * 20


async def three_times(url: str) -> list[Any]:
    return [json.loads((await by_acall(url)).text) for _ in range(3)]


def test_acall_keeps_its_connection_within_a_run_of_trio_and_closes_it_at_its_end() -> None:
    with remote_that(answer()) as remote:
        for runs in (1, 2):
            assert trio.run(three_times, remote.url) == [{}] * 3
            assert remote.connections == runs
            wait_until(lambda: remote.open_connections == 0)


def test_acall_leaves_nothing_behind_when_a_run_of_trio_has_ended() -> None:
    def clients() -> int:
        gc.collect()
        return sum(type(each) is httpx.AsyncClient for each in gc.get_objects())

    before = clients()
    with remote_that(answer()) as remote:
        for _ in range(2):
            trio.run(three_times, remote.url)
    assert clients() == before


def test_what_a_thread_was_begun_with_ends_after_trio_has() -> None:
    began, go, undone = Event(), Event(), Event()

    def work() -> None:
        began.set()
        assert go.wait(PATIENCE)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: in_thread(work, undo=lambda _: undone.set()))
            await trio.to_thread.run_sync(began.wait, PATIENCE)
            nursery.cancel_scope.cancel()

    trio.run(main)
    go.set()
    assert undone.wait(PATIENCE)


async def by_transport_alone(url: str) -> httpx.Response:
    # A client would close it, and what httpx then says would be all that is heard.
    return await AsyncCircuitTransport(name="remote").handle_async_request(
        httpx.Request("GET", url)
    )


@pytest.mark.parametrize("call", [by_acall, by_transport_alone, by_guard, by_protect])
def test_without_an_event_loop_one_sentence_says_so(call: Call, outcomes: list[str]) -> None:
    step: Any = call("http://127.0.0.1:1/")
    with pytest.raises(RuntimeError, match=r"the event loop of asyncio or trio; none runs here"):
        step.send(None)
    assert "failure" not in outcomes


# A place among the concurrent calls


@pytest.mark.parametrize(("seconds", "found"), [(60.0, "a place"), (0.05, "CircuitBusyError")])
def test_a_task_waits_for_a_place_under_trio(seconds: float, found: str) -> None:
    CircuitFactory.create(name="pdf", max_concurrent=1, max_wait_seconds=seconds)
    came: list[str] = []

    async def call(hold: trio.Event, inside: trio.Event) -> None:
        try:
            async with circuits.guard("pdf"):
                came.append("a place")
                inside.set()
                await hold.wait()
        except circuits.CircuitOpenError as error:
            came.append(type(error).__name__)
            inside.set()

    async def main() -> None:
        hold, inside, second = trio.Event(), trio.Event(), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, hold, inside)
            await inside.wait()
            nursery.start_soon(call, hold, second)
            if seconds < 1:
                await second.wait()
            else:
                await in_thread(wait_until, lambda: runtime.gate("pdf").places.waiting)
            hold.set()

    trio.run(main)
    assert came == ["a place", found]
    places = runtime.gate("pdf").places
    assert (places.taken, places.waiting) == (0, 0)
