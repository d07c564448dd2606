"""A thousand calls at once under ASGI: the event loop is never blocked by the database."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import Any

import pytest
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient
from django.urls import path
from pytest_django import Settings

import circuits
from circuits.models import Circuit
from circuits.process import runtime
from circuits.storage.database import DatabaseStore
from tests.clock import Clock
from tests.concurrency import wait_until

pytestmark = [pytest.mark.usefixtures("committed"), pytest.mark.urls(__name__)]

CALLS = 1_000

#: Seconds that the slow database takes, and seconds from which asyncio reports a step of the loop
#: as slow. The second is close to the first, since a busy machine is sometimes slow by itself.
DATABASE_SECONDS = 4.0
LIMIT = 3.5


@non_atomic_requests
async def guarded(request: HttpRequest) -> HttpResponse:
    async with circuits.guard("busy"):
        await asyncio.sleep(0)
        return HttpResponse("well")


urlpatterns = [path("", guarded)]


class Counted:
    """Counts the calls of a method of the database store, and can delay them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        self.number = 0
        self.go = Event()
        self.go.set()
        lock = Lock()
        original: Callable[..., Any] = getattr(DatabaseStore, method)

        def count(*args: Any) -> Any:
            with lock:
                self.number += 1
            assert self.go.wait(30)
            return original(*args)

        monkeypatch.setattr(DatabaseStore, method, count)


async def call() -> str:
    async with circuits.guard("busy"):
        await asyncio.sleep(0)
        return "made"


@pytest.fixture
def long_snapshots(settings: Settings) -> None:
    """Keep the snapshot fresh, however long a thousand calls take on a busy machine."""
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 60}


@pytest.mark.usefixtures("long_snapshots")
async def test_a_thousand_cold_calls_read_the_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Counted(monkeypatch, "read")
    assert await asyncio.gather(*(call() for _ in range(CALLS))) == ["made"] * CALLS
    assert reads.number == 1


@pytest.mark.usefixtures("long_snapshots")
async def test_an_ageing_snapshot_is_renewed_once_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await call()
    runtime.gate("busy").expire()
    reads = Counted(monkeypatch, "read")
    assert await asyncio.gather(*(call() for _ in range(CALLS))) == ["made"] * CALLS
    assert reads.number == 1


@pytest.mark.parametrize("age", [0.3, 3600], ids=["stale", "too old"])
async def test_an_aged_snapshot_sends_a_few_of_a_thousand_to_a_thread(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, age: float
) -> None:
    await call()
    clock.pass_by(age)
    sent: list[object] = []
    submit = ThreadPoolExecutor.submit

    def record(pool: ThreadPoolExecutor, *work: Any) -> Any:
        sent.append(work)
        return submit(pool, *work)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", record)
    assert await asyncio.gather(*(call() for _ in range(CALLS))) == ["made"] * CALLS
    # One query lets the first call through, and one checks whether its success ends a run of
    # failures. Another call may check at the same moment, and on a busy machine a few more do.
    assert 1 <= len(sent) <= 5


async def test_a_snapshot_read_for_a_caller_answers_it_even_if_it_has_aged_meanwhile(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, admitted = DatabaseStore.read, Event()

    def slow_read(store: DatabaseStore, *args: Any) -> Any:
        snapshot = read(store, *args)
        if not admitted.is_set():
            clock.pass_by(10)
        return snapshot

    async def call() -> str:
        async with circuits.guard("busy"):
            admitted.set()  # the reads that follow are for successes, and not slow
            await asyncio.sleep(0)
            return "made"

    monkeypatch.setattr(DatabaseStore, "read", slow_read)
    reads = Counted(monkeypatch, "read")
    assert await asyncio.gather(*(call() for _ in range(CALLS))) == ["made"] * CALLS
    assert reads.number <= 5  # for a thousand calls, as explained above


async def test_the_loop_goes_on_while_the_database_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Counted(monkeypatch, "read")
    reads.go.clear()
    waiting = [asyncio.create_task(call()) for _ in range(CALLS)]
    # If a read held up the loop, this would fail after half a minute.
    await asyncio.to_thread(wait_until, lambda: reads.number)
    assert not any(task.done() for task in waiting)
    reads.go.set()
    assert await asyncio.gather(*waiting) == ["made"] * CALLS


async def test_no_step_of_the_loop_is_slow(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The debug log of asyncio names no slow callback, with a database slower than its limit."""
    loop = asyncio.get_running_loop()
    await call()
    original = DatabaseStore.read

    def slow_read(store: DatabaseStore, *args: Any) -> Any:
        Event().wait(DATABASE_SECONDS)
        return original(store, *args)

    monkeypatch.setattr(DatabaseStore, "read", slow_read)
    loop.set_debug(True)
    loop.slow_callback_duration = LIMIT
    caplog.set_level(logging.WARNING, "asyncio")
    try:
        runtime.gate("busy").expire()
        await asyncio.gather(*(call() for _ in range(CALLS)))
    finally:
        loop.set_debug(False)
    slow = [message for message in caplog.messages if re.search(r"Executing .* took", message)]
    assert not slow


async def test_a_slow_database_shows_in_that_log_when_it_does_block(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This shows that the test above can fail: a read on the loop itself is reported."""
    loop = asyncio.get_running_loop()
    slept = Event()
    monkeypatch.setattr(DatabaseStore, "read", lambda *args: slept.wait(DATABASE_SECONDS))
    loop.set_debug(True)
    loop.slow_callback_duration = LIMIT
    caplog.set_level(logging.WARNING, "asyncio")
    try:

        async def block() -> None:
            DatabaseStore().read("busy")

        await asyncio.create_task(block())
    finally:
        loop.set_debug(False)
    assert any("took" in message for message in caplog.messages)


@pytest.mark.usefixtures("long_snapshots")
async def test_a_thousand_requests_through_asgi(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Counted(monkeypatch, "read")
    clients = AsyncClient()
    answers = await asyncio.gather(*(clients.get("/") for _ in range(CALLS)))
    assert {answer.status_code for answer in answers} == {200}
    assert reads.number == 1


async def test_cancelled_calls_leave_nothing_behind() -> None:
    places = 50
    inside = asyncio.Semaphore(0)

    async def hang() -> None:
        async with circuits.guard("limited"):
            inside.release()
            await asyncio.Event().wait()

    await Circuit.objects.acreate(name="limited", max_concurrent=places)
    tasks = [asyncio.create_task(hang()) for _ in range(places)]
    for _ in range(places):
        await inside.acquire()
    with pytest.raises(circuits.CircuitBusyError):
        async with circuits.guard("limited"):
            pass
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with circuits.guard("limited"):
        pass
