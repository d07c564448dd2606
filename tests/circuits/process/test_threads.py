"""The threads in which async code waits for the circuits' database."""

from __future__ import annotations

import asyncio
import gc
import importlib
from asyncio import CancelledError
from collections.abc import Callable
from contextvars import ContextVar
from threading import Barrier, Event, Lock, Thread, current_thread, get_ident
from typing import Any

import pytest
from django.db import OperationalError, connections

import circuits
from circuits.process import loops, threads
from circuits.process.threads import IDLE_SECONDS, THREADS, in_thread, in_thread_for_all
from tests.concurrency import PATIENCE, wait_until


class Work:
    """Work for a thread, which waits until the test lets it go."""

    def __init__(self, result: Any = None) -> None:
        self.began, self.go, self.done = Event(), Event(), Event()
        self.result = result
        self.runs = 0

    def __call__(self) -> Any:
        self.runs += 1
        self.began.set()
        assert self.go.wait(PATIENCE / 6), "the event loop stands still"
        self.done.set()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


async def begun(work: Work, **how: Any) -> asyncio.Task[Any]:
    """Start some work, and return its task once it is under way."""
    task = asyncio.create_task(in_thread(work, **how))
    await asyncio.to_thread(wait_until, work.began.is_set)
    return task


async def cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(CancelledError):
        await task


async def test_it_runs_in_another_thread_and_returns_what_comes_of_it() -> None:
    assert await in_thread(divmod, 7, 2) == (3, 1)
    assert await in_thread(get_ident) != get_ident()


_word: ContextVar[str] = ContextVar("word")


async def test_it_runs_in_the_context_of_who_asked() -> None:
    _word.set("mine")
    assert await in_thread(_word.get) == "mine"
    assert await in_thread_for_all("key", _word.get) == "mine"
    assert threads.wait_in_thread(_word.get) == "mine"


def test_a_loop_is_closed_once_it_says_so() -> None:
    loop = asyncio.new_event_loop()
    assert not loops.is_closed(loop)
    loop.close()
    assert loops.is_closed(loop)
    assert not loops.is_closed("a token of trio"), "nobody can tell"


def test_outside_of_a_loop_it_is_said_which_loops_there_may_be() -> None:
    importlib.import_module("trio")  # that it is imported does not mean that it runs
    assert not loops.is_running()
    with pytest.raises(RuntimeError) as refused:
        loops.current()
    assert str(refused.value) == (
        "Async calls through a circuit need the event loop of asyncio or trio; none runs here."
    )


async def test_what_is_handed_over_is_done_and_nobody_waits_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done: list[int] = []
    threads.hand_over(done.append, 7)
    await all_threads_idle()
    assert done == [7]
    threads.hand_over(divmod, 1, 0)
    await all_threads_idle()
    assert caplog.messages == ["A circuit could not be asked or told in the background."]


async def test_it_raises_what_the_function_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 1, 0)


async def test_the_event_loop_goes_on_meanwhile() -> None:
    work = Work("result")
    task = await begun(work)
    assert not task.done()
    work.go.set()
    assert await task == "result"


async def test_what_was_begun_is_done_even_if_nobody_waits_any_more() -> None:
    work = Work()
    await cancel(await begun(work))
    work.go.set()
    assert await asyncio.to_thread(work.done.wait, PATIENCE)


async def test_what_waits_for_a_thread_is_done_even_if_nobody_waits_any_more() -> None:
    busy = [Work() for _ in range(THREADS)]
    tasks = [await begun(work) for work in busy]
    done: list[str] = []
    waiting = asyncio.create_task(in_thread(done.append, "work"))
    await asyncio.sleep(0)
    await cancel(waiting)
    for work in busy:
        work.go.set()
    await asyncio.gather(*tasks)
    await asyncio.to_thread(wait_until, lambda: done)


async def test_the_result_is_undone_if_nobody_is_left_to_receive_it() -> None:
    undone: list[str] = []
    work = Work("result")
    await cancel(await begun(work, undo=undone.append))
    assert undone == []
    work.go.set()
    await asyncio.to_thread(wait_until, lambda: undone)
    assert undone == ["result"]


async def test_the_result_is_not_undone_if_it_is_received() -> None:
    undone: list[str] = []
    work = Work("result")
    task = await begun(work, undo=undone.append)
    work.go.set()
    await task
    await all_threads_idle()
    assert undone == []


async def test_what_failed_is_not_undone() -> None:
    undone: list[str] = []
    work = Work(ZeroDivisionError())
    await cancel(await begun(work, undo=undone.append))
    work.go.set()
    await all_threads_idle()
    assert undone == []


async def test_what_nobody_is_left_to_hear_is_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(2):
        work = Work(ZeroDivisionError())
        await cancel(await begun(work))
        work.go.set()
        await all_threads_idle()
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage() == "A circuit could not be asked or told in the background."
    assert "ZeroDivisionError" in caplog.text
    assert "in __call__" in caplog.text, "its traceback"


async def test_what_nobody_is_left_to_hear_of_an_undoing_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def undo(result: int) -> float:
        return 1 / result

    work = Work(0)
    await cancel(await begun(work, undo=undo))
    work.go.set()
    await all_threads_idle()
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    "error", [OperationalError("gone"), circuits.CircuitOpenError("payments", 1.0)]
)
async def test_what_is_said_elsewhere_is_not_said_here(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    work = Work(error)
    await cancel(await begun(work))
    work.go.set()
    await all_threads_idle()
    assert caplog.records == []


async def all_threads_idle() -> None:
    """Wait until the threads have done all their work."""
    works = [Work() for _ in range(THREADS)]
    tasks = [await begun(work) for work in works]
    for work in works:
        work.go.set()
    await asyncio.gather(*tasks)


# Work that is done once for all who ask meanwhile


async def all_waiting(number: int, work: Work, key: str = "same") -> list[asyncio.Task[Any]]:
    """Ask for some work several times, and return the tasks once it is under way."""
    tasks = [asyncio.create_task(in_thread_for_all(key, work)) for _ in range(number)]
    await asyncio.to_thread(wait_until, work.began.is_set)
    return tasks


async def test_who_asks_for_the_same_meanwhile_gets_the_same() -> None:
    work = Work(object())
    tasks = await all_waiting(10, work)
    work.go.set()
    results = await asyncio.gather(*tasks)
    assert results == [work.result] * 10
    assert work.runs == 1


async def test_who_asks_afterwards_or_for_another_asks_anew() -> None:
    work = Work("result")
    work.go.set()
    for key in ("same", "same", "other"):
        assert await in_thread_for_all(key, work) == "result"
    assert work.runs == 3


async def test_what_fails_fails_for_all_who_wait_and_for_nobody_after() -> None:
    work = Work(ZeroDivisionError())
    tasks = await all_waiting(3, work)
    work.go.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [ZeroDivisionError] * 3
    work.result = "result"
    assert await in_thread_for_all("same", work) == "result"


async def test_who_is_cancelled_leaves_the_others_waiting() -> None:
    work = Work("result")
    first, second = await all_waiting(2, work)
    await cancel(first)
    work.go.set()
    assert await second == "result"


async def test_a_failure_that_nobody_waits_for_any_more_is_no_noise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    work = Work(OperationalError("gone"))
    (only,) = await all_waiting(1, work)
    await cancel(only)
    work.go.set()
    await all_threads_idle()
    gc.collect()
    assert caplog.records == []


async def test_many_callers_share_a_few_threads() -> None:
    lock = Lock()
    running = most = 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        Event().wait(0.01)
        with lock:
            running -= 1

    await asyncio.gather(*(in_thread(work) for _ in range(5 * THREADS)))
    assert most == THREADS


async def in_each_thread(work: Callable[[], Any]) -> dict[Thread, Any]:
    """Run some work once in each of the threads, and return the results by thread."""
    all_at_once = Barrier(THREADS)

    def run() -> tuple[Thread, Any]:
        all_at_once.wait(PATIENCE)  # so that no thread takes a second turn and another none
        return current_thread(), work()

    return dict(await asyncio.gather(*(in_thread(run) for _ in range(THREADS))))


def connection() -> Any:
    """Use this thread's connection, and return it."""
    connections["circuits"].ensure_connection()
    return connections["circuits"].connection


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize(("idle", "kept"), [(IDLE_SECONDS - 1, True), (IDLE_SECONDS + 1, False)])
async def test_a_connection_long_idle_is_renewed(
    monkeypatch: pytest.MonkeyPatch, idle: float, kept: bool
) -> None:
    now = 1000.0
    monkeypatch.setattr(threads, "monotonic", lambda: now)
    first = await in_each_thread(connection)
    now += idle
    second = await in_each_thread(connection)
    assert first.keys() == second.keys()
    assert {second[thread] is first[thread] for thread in first} == {kept}
    await in_each_thread(connections.close_all)


async def test_after_a_fork_there_are_new_threads() -> None:
    parents = await in_each_thread(connections.close_all)
    threads.forget()
    childs = await in_each_thread(connections.close_all)
    assert parents.keys().isdisjoint(childs)
