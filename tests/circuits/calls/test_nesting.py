"""Calls inside calls through the same circuit: one permit, and one outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context
from threading import Thread
from typing import Any

import httpx
import pytest
import requests

import circuits
from circuits.models import Circuit
from circuits.process.threads import in_thread
from tests.calls import fail, play, refusal, succeed, under_way
from tests.concurrency import wait_until
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")

NAME = "payments"


def row() -> Any:
    circuits.flush()
    return Circuit.objects.get(name=NAME)


# The ways in, one inside the other


def by_call(url: str) -> None:
    circuits.call(NAME, url)


def by_session(url: str) -> None:
    with requests.Session() as session:
        session.mount("http://", circuits.CircuitAdapter(NAME))
        session.get(url).raise_for_status()


def by_client(url: str) -> None:
    with httpx.Client(transport=circuits.CircuitTransport(name=NAME)) as client:
        client.get(url).raise_for_status()


def by_acall(url: str) -> None:
    asyncio.run(circuits.acall(NAME, url))


def guarded(inner: Callable[[str], None], url: str) -> None:
    with circuits.guard(NAME):
        inner(url)


def protected(inner: Callable[[str], None], url: str) -> None:
    circuits.protect(NAME)(inner)(url)


def broken_off(inner: Callable[[str], None], url: str) -> None:
    circuits.CircuitBreaker(inner, name=NAME).make_remote_call(url)


def as_task(inner: Callable[[str], None], url: str) -> None:
    circuits.circuit_task(NAME, name=f"tests.nesting.{inner.__name__}")(inner)(url)


def three_deep(inner: Callable[[str], None], url: str) -> None:
    with circuits.guard(NAME), circuits.guard("another"):
        protected(lambda url: guarded(inner, url), url)


def awaited(inner: Callable[[str], None], url: str) -> None:
    async def outer() -> None:
        async with circuits.guard(NAME):
            await asyncio.to_thread(inner, url)

    asyncio.run(outer())


OUTER = [guarded, protected, broken_off, as_task, three_deep, awaited]
INNER = [by_call, by_session, by_client, by_acall]

#: The policies under which the nested calls are made.
POLICIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "limited": {"max_concurrent": 1},
    "timed": {"slow_call_seconds": 60},
    "after a failure": {"failure_count": 1},
    "half open": {"expired": True},
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("outer", OUTER)
def test_one_exception_counts_once(outer: Any, inner: Any, policy: str, remote: str) -> None:
    before = CircuitFactory.create(name=NAME, **POLICIES[policy])
    with suppress(requests.RequestException, httpx.HTTPError, circuits.RemoteCallFailedException):
        outer(inner, f"{remote}/faulty")
    assert row().total_failures - before.total_failures == 1
    if policy == "half open":
        assert row().state == "open"
    else:
        assert (row().state, row().failure_count) == ("closed", before.failure_count + 1)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("outer", OUTER)
def test_one_answer_counts_once(outer: Any, inner: Any, policy: str, remote: str) -> None:
    CircuitFactory(name=NAME, **POLICIES[policy])
    for _ in range(2):
        outer(inner, f"{remote}/success")
    assert (row().state, row().failure_count, row().leases) == ("closed", 0, [])
    assert row().total_refusals == 0
    # A plain call and the event loop that it runs know nothing of each other.
    if inner is not by_acall:
        assert row().total_successes == 2


# What the calls come to together


def test_a_failure_counts_once_after_calls_that_went_well_too() -> None:
    CircuitFactory(name=NAME, threshold=9)
    succeed(NAME, 2)
    fail(NAME)
    assert (row().failure_count, row().total_failures) == (1, 1)
    succeed(NAME, 2)
    with suppress(ConnectionError), circuits.guard(NAME), circuits.guard(NAME):
        raise ConnectionError
    assert (row().failure_count, row().total_failures) == (1, 2)
    succeed(NAME, 2)
    with suppress(KeyError), circuits.guard(NAME, exceptions=KeyError):
        swallow(ConnectionError())
        raise KeyError
    assert (row().failure_count, row().total_failures) == (1, 3)


def swallow(error: BaseException) -> None:
    with suppress(type(error)), circuits.guard(NAME, exceptions=ConnectionError):
        raise error


@pytest.mark.parametrize("policy", POLICIES)
def test_a_failure_inside_that_is_handled_counts_all_the_same(policy: str) -> None:
    before = CircuitFactory.create(name=NAME, threshold=9, **POLICIES[policy])
    with circuits.guard(NAME):
        swallow(ConnectionError())
    assert row().total_failures - before.total_failures == 1
    if policy == "half open":
        assert row().state == "open"
    else:
        assert row().failure_count == before.failure_count + 1


@pytest.mark.parametrize("policy", POLICIES)
def test_an_answer_inside_counts_if_the_outer_call_says_nothing(policy: str) -> None:
    CircuitFactory(name=NAME, **POLICIES[policy])
    with suppress(KeyError), circuits.guard(NAME, exceptions=ConnectionError):
        succeed(NAME)
        raise KeyError
    assert (row().state, row().total_failures, row().total_successes) == ("closed", 0, 1)


def test_what_the_outer_call_says_of_an_answer_holds() -> None:
    CircuitFactory(name=NAME, expired=True)
    with suppress(ValueError), circuits.guard(NAME, exceptions=ValueError):
        succeed(NAME)
        raise ValueError("an answer that makes no sense")
    assert (row().state, row().total_successes, row().total_failures) == ("open", 0, 1)


def test_a_trial_that_failed_inside_lets_no_further_call_through() -> None:
    CircuitFactory(name=NAME, expired=True)
    with circuits.guard(NAME):
        fail(NAME)
        refusal(NAME)
    assert row().total_failures == 1


def test_calls_inside_that_say_nothing_give_the_trial_back() -> None:
    CircuitFactory(name=NAME, expired=True)
    with suppress(KeyError), circuits.guard(NAME, exceptions=ConnectionError):
        swallow(KeyError())
        raise KeyError
    assert (row().state, row().leases) == ("half_open", [])
    assert play(NAME, ".") == "."


def test_a_call_of_an_older_generation_lends_its_permit_to_none() -> None:
    CircuitFactory(name=NAME, max_concurrent=1)
    with circuits.guard(NAME):
        circuits.get(NAME).force_open()
        Context().run(refusal, NAME)  # by which this process learns of it
        refusal(NAME)
        circuits.get(NAME).force_closed()
        succeed(NAME)
    assert play(NAME, "..") == ".."


def in_a_pool(url: str) -> None:
    with ThreadPoolExecutor(1) as pool, circuits.guard(NAME):
        pool.submit(by_call, url).result()


def in_a_pool_of_a_loop(url: str) -> None:
    async def outer() -> None:
        with ThreadPoolExecutor(1) as pool:
            async with circuits.guard(NAME):
                await asyncio.get_running_loop().run_in_executor(pool, by_call, url)

    asyncio.run(outer())


@pytest.mark.parametrize("call", [in_a_pool, in_a_pool_of_a_loop])
def test_a_failure_that_a_thread_outside_has_counted_counts_once(
    call: Callable[[str], None], remote: str
) -> None:
    with pytest.raises(circuits.RemoteCallFailedException):
        call(f"{remote}/faulty")
    assert (row().failure_count, row().total_failures) == (1, 1)


# What is inside, and what is not


def test_a_call_after_another_is_not_inside_it() -> None:
    CircuitFactory(name=NAME, threshold=3)
    assert play(NAME, "ffffff") == "fffrrr"


def test_a_call_of_somebody_else_is_not_inside() -> None:
    CircuitFactory(name=NAME, expired=True)
    with under_way(NAME):
        refusal(NAME)


def test_a_call_in_another_thread_is_not_inside() -> None:
    CircuitFactory(name=NAME, expired=True)
    with circuits.guard(NAME):
        thread = Thread(target=refusal, args=(NAME,))
        thread.start()
        thread.join()
    assert row().total_refusals == 1


def test_the_body_of_an_answer_is_no_call_to_be_inside_of(remote: str) -> None:
    CircuitFactory(name=NAME, max_concurrent=1)
    with circuits.call(NAME, f"{remote}/success", stream=True):
        assert play(NAME, ".") == "r"
    assert play(NAME, ".") == "."


def test_a_body_that_outlives_the_outer_call_keeps_its_place(remote: str) -> None:
    CircuitFactory(name=NAME, max_concurrent=1)
    with circuits.guard(NAME):
        response = circuits.call(NAME, f"{remote}/success", stream=True)
    assert play(NAME, ".") == "r"
    response.close()
    assert play(NAME, ".") == "."
    assert row().total_successes == 2


def test_a_generator_lends_its_permit_while_it_waits() -> None:
    def pages() -> Iterator[int]:
        with circuits.guard(NAME):
            yield from range(3)

    CircuitFactory(name=NAME, expired=True)
    for _ in pages():
        succeed(NAME)
    assert (row().state, row().total_successes) == ("closed", 1)


async def test_tasks_that_a_call_starts_are_inside_it() -> None:
    await in_thread(lambda: CircuitFactory(name=NAME, expired=True, threshold=9))

    async def work() -> None:
        async with circuits.guard(NAME):
            await asyncio.sleep(0)
            raise ConnectionError

    async def outer() -> None:
        async with circuits.guard(NAME, exceptions=ConnectionError), asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(work())

    with pytest.raises(ExceptionGroup):
        await outer()
    # The task that settles the call may have been cancelled while it waited for the database.
    await in_thread(lambda: wait_until(lambda: row().state == "open"))
    after = await in_thread(row)
    assert (after.total_failures, after.total_refusals) == (1, 0)


async def test_a_task_that_outlives_the_call_does_not_ride_on_it() -> None:
    await in_thread(lambda: CircuitFactory(name=NAME, expired=True, success_threshold=2))
    may_begin, went = asyncio.Event(), []

    async def work() -> None:
        await may_begin.wait()
        async with circuits.guard(NAME):
            went.append((await in_thread(row)).leases)

    async with circuits.guard(NAME):
        task = asyncio.create_task(work())
    may_begin.set()
    await task
    assert len(went[0]) == 1, "a trial of its own"
    assert (await in_thread(row)).state == "closed"
