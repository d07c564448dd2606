"""The places of concurrent calls, and the queue of those who wait for one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event, Thread, main_thread
from typing import Any

import pytest
import trio
from django.db import connections
from trio.testing import MockClock

import circuits
from circuits.process import asking, entry, loops, results, runtime
from circuits.process.gate import PlacesTakenError
from circuits.process.places import Places
from circuits.process.threads import in_thread
from circuits.process.waiting import Wait
from tests.clock import Clock
from tests.concurrency import PATIENCE, in_time, wait_until
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")

#: Seconds that no test may take, for callers that wait until something else happens.
LONG = 60.0


def limited(max_wait_seconds: float = LONG, **values: Any) -> None:
    CircuitFactory.create(
        name="pdf", **{"max_concurrent": 1, "max_wait_seconds": max_wait_seconds, **values}
    )
    asking.current(runtime.gate("pdf"))


class Queue:
    """Callers that wait for a place, in threads and tasks, and their results in order."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self.threads: list[Thread] = []

    def thread(self, name: str, then: Event | None = None) -> None:
        """Let a thread ask for a place; return once it waits."""

        def call() -> None:
            try:
                with circuits.guard("pdf"):
                    self.came.append(name)
                    if then is not None:
                        then.wait(PATIENCE)
            except circuits.CircuitOpenError as error:
                self.came.append(f"{name}: {type(error).__name__}")
            finally:
                connections.close_all()

        before = waiting()
        self.threads.append(Thread(target=call, daemon=True))
        self.threads[-1].start()
        wait_until(lambda: waiting() > before or self.came)

    async def call(self, name: str) -> None:
        try:
            async with circuits.guard("pdf"):
                self.came.append(name)
        except circuits.CircuitOpenError as error:
            self.came.append(f"{name}: {type(error).__name__}")

    def join(self) -> None:
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def waiting() -> int:
    """Return how many callers wait for a place."""
    return runtime.gate("pdf").places.waiting


async def until_waiting(number: int) -> None:
    await in_thread(wait_until, lambda: waiting() >= number)


@contextmanager
def taken() -> Iterator[None]:
    """Take the only place while the block runs."""
    ticket = entry.admit("pdf")
    try:
        yield
    finally:
        results.succeed(ticket)


def is_free() -> bool:
    """Return whether a call finds a place at once, with nobody left in the queue."""
    gate = runtime.gate("pdf")
    return (gate.places.taken, gate.places.waiting) == (0, 0)


# Sync


def test_a_call_over_the_limit_waits_for_a_place() -> None:
    limited()
    queue = Queue()
    with taken():
        queue.thread("a")
        assert queue.came == []
    queue.join()
    assert queue.came == ["a"]
    assert is_free()
    circuits.flush()
    assert runtime.store.read("pdf").status.failure_count == 0


def test_who_came_first_is_served_first_and_nobody_overtakes() -> None:
    limited()
    queue = Queue()
    with taken():
        for name in "abcde":
            queue.thread(name)
    queue.thread("late")
    queue.join()
    assert queue.came == [*"abcde", "late"]
    assert is_free()


def test_each_place_that_comes_free_serves_one() -> None:
    limited(max_concurrent=2)
    queue, done = Queue(), Event()
    one, other = entry.admit("pdf"), entry.admit("pdf")
    queue.thread("a", done)
    queue.thread("b", done)
    queue.thread("c", done)
    results.succeed(one)
    wait_until(lambda: queue.came == ["a"])
    assert waiting() == 2
    results.succeed(other)
    wait_until(lambda: queue.came == ["a", "b"])
    assert waiting() == 1
    done.set()
    queue.join()
    assert is_free()


def test_a_wait_that_takes_too_long_ends_as_busy() -> None:
    limited(max_wait_seconds=0.05)
    with taken(), pytest.raises(circuits.CircuitBusyError) as refused:
        entry.admit("pdf")
    assert type(refused.value) is circuits.CircuitBusyError
    assert is_free()
    circuits.flush()
    assert circuits.models.Circuit.objects.get(name="pdf").total_refusals == 1


def test_a_call_that_is_reported_twice_gives_one_place_back() -> None:
    limited(max_concurrent=2)
    one, other = entry.admit("pdf"), entry.admit("pdf")
    for _ in range(2):
        results.succeed(one)
    assert runtime.gate("pdf").places.taken == 1
    results.succeed(other)
    assert is_free()


def test_by_default_nobody_waits() -> None:
    CircuitFactory.create(name="pdf", max_concurrent=1)
    with taken(), pytest.raises(circuits.CircuitBusyError):
        in_time(lambda: entry.admit("pdf"), 30)


@pytest.mark.parametrize("is_known", [True, False], ids=["told", "heard of"])
def test_a_wait_ends_at_once_when_the_circuit_opens(is_known: bool) -> None:
    limited()
    queue = Queue()
    with taken():
        queue.thread("a")
        queue.thread("b")
        circuits.get("pdf").force_open()
        if not is_known:
            asking.current(runtime.gate("pdf"))
        queue.join()
    assert sorted(queue.came) == ["a: CircuitOpenError", "b: CircuitOpenError"]
    assert is_free()


def test_failures_that_open_the_circuit_end_the_waits() -> None:
    limited(threshold=1)
    queue, done = Queue(), Event()
    ticket = entry.admit("pdf")
    queue.thread("a", done)
    queue.thread("b")
    results.fail(ticket, "down")  # whose place may be taken before the failure is counted
    wait_until(lambda: "b: CircuitOpenError" in queue.came)
    done.set()
    queue.join()
    assert is_free()


def test_a_change_that_lets_calls_pass_lets_who_waits_ask_anew() -> None:
    limited()
    queue = Queue()
    with taken():
        queue.thread("a")
        circuits.get("pdf").observe()
        assert queue.came == []
    queue.join()
    assert queue.came == ["a"]
    assert is_free()


def test_a_wait_that_a_signal_interrupts_leaves_the_queue() -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def send() -> None:
        wait_until(lambda: waiting() == 1)
        signal.pthread_kill(main_thread().ident or 0, signal.SIGUSR1)

    limited()
    before = signal.signal(signal.SIGUSR1, interrupt)
    sender = Thread(target=send)
    try:
        with taken():
            sender.start()
            with pytest.raises(KeyboardInterrupt):
                entry.admit("pdf")
            assert waiting() == 0
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)
    assert is_free()


def test_a_trial_does_not_wait_and_gives_its_lease_back() -> None:
    limited()
    with taken():
        circuits.get("pdf").force_open()
        circuits.get("pdf").automatic()
        with pytest.raises(circuits.CircuitBusyError):
            in_time(lambda: entry.admit("pdf"), 30)
        assert circuits.models.Circuit.objects.get(name="pdf").leases == []


@pytest.mark.parametrize(("refused_for", "is_let_in"), [(0, True), (0.125, False)])
def test_who_gets_a_place_while_the_process_refuses_calls_asks_anew(
    clock: Clock, refused_for: float, is_let_in: bool
) -> None:
    limited()
    gate = runtime.gate("pdf")
    refuses_until = clock.now + refused_for
    gate.swap(lambda view: replace(view, refuses_until=refuses_until))
    ticket = Wait().take_turn(PlacesTakenError(gate, gate.view.leave.permit, 1, LONG))
    assert (ticket is not None) is is_let_in
    if ticket is not None:
        results.succeed(ticket)
    assert is_free()


# Async


async def test_tasks_wait_without_a_thread_and_without_blocking_the_loop() -> None:
    await in_thread(limited)
    ticket = await entry.aadmit("pdf")
    queue = Queue()
    # There are more callers than threads for async code, and the loop goes on meanwhile.
    tasks = [asyncio.create_task(queue.call(str(number))) for number in range(20)]
    await until_waiting(20)
    assert await in_thread(lambda: "a thread is free") == "a thread is free"
    await in_thread(results.succeed, ticket)
    await asyncio.gather(*tasks)
    assert queue.came == [str(number) for number in range(20)]
    assert is_free()


async def test_threads_and_tasks_stand_in_one_queue() -> None:
    await in_thread(limited)
    ticket = await entry.aadmit("pdf")
    queue = Queue()
    tasks = []
    for number in range(6):
        if number % 2:
            await in_thread(queue.thread, f"thread {number}")
        else:
            tasks.append(asyncio.create_task(queue.call(f"task {number}")))
            await until_waiting(number + 1)
    await in_thread(results.succeed, ticket)
    await asyncio.gather(*tasks)
    await in_thread(queue.join)
    assert [name[-1] for name in queue.came] == list("012345")
    assert is_free()


async def test_an_async_wait_that_takes_too_long_ends_as_busy() -> None:
    await in_thread(limited, 0.05)
    ticket = await entry.aadmit("pdf")
    queue = Queue()
    await queue.call("a")
    assert queue.came == ["a: CircuitBusyError"]
    await in_thread(results.succeed, ticket)
    assert is_free()


def test_under_trio_too_a_caller_waits_for_as_long_as_the_policy_allows() -> None:
    async def wait_in_vain() -> float:
        began = trio.current_time()
        with pytest.raises(circuits.CircuitBusyError):
            await entry.aadmit("pdf")
        return trio.current_time() - began

    limited(0.25)
    with taken():
        waited = trio.run(wait_in_vain, clock=MockClock(autojump_threshold=0))
    assert waited == pytest.approx(0.25)
    assert is_free()


async def test_a_cancelled_wait_gives_its_turn_on() -> None:
    await in_thread(limited)
    ticket = await entry.aadmit("pdf")
    queue = Queue()
    cancelled = asyncio.create_task(queue.call("cancelled"))
    await until_waiting(1)
    task = asyncio.create_task(queue.call("next"))
    await until_waiting(2)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert waiting() == 1
    await in_thread(results.succeed, ticket)
    await task
    assert queue.came == ["next"]
    assert is_free()


async def test_a_task_cancelled_as_it_gets_a_place_gives_the_place_on() -> None:
    await in_thread(limited)
    ticket = await entry.aadmit("pdf")
    queue = Queue()
    cancelled = asyncio.create_task(queue.call("cancelled"))
    await until_waiting(1)
    results.succeed(ticket)  # in this thread, so that the task has not yet heard of its place
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert queue.came == []
    assert is_free()


async def test_an_async_wait_ends_at_once_when_the_circuit_opens() -> None:
    await in_thread(limited)
    ticket = await entry.aadmit("pdf")
    queue = Queue()
    task = asyncio.create_task(queue.call("a"))
    await until_waiting(1)
    await in_thread(circuits.get("pdf").force_open)
    await task
    assert queue.came == ["a: CircuitOpenError"]
    await in_thread(results.succeed, ticket)
    assert is_free()


# The queue itself


def test_a_caller_whose_event_loop_is_closed_keeps_no_place_from_others() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    places, woken = Places(), Event()
    assert places.enter(1)
    gone = places.queue(1, lambda: loops.soon(loop, print))
    next_one = places.queue(1, woken.set)
    places.leave()
    assert not gone.has_place
    assert woken.is_set()
    assert next_one.has_place


def test_a_limit_that_is_raised_serves_those_who_wait_before_others() -> None:
    places, woken = Places(), Event()
    assert places.enter(1)
    first = places.queue(2, woken.set)
    assert first.has_place
    second = places.queue(2, Event().set)
    assert not places.enter(3), "somebody waits"
    assert places.quit(first)
    places.leave()
    assert second.has_place
