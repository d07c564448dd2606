"""The circuits' database goes away in the middle of traffic, in every way a database can."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any, Final

import pytest
from django.conf import settings as configured
from django.db import Error, OperationalError, connections, transaction

import circuits
from cbproject.databases import OPTIONS, POSTGRESQL, SILENCE_SECONDS
from circuits import breaker
from circuits.dberrors import InDoubtError
from circuits.models import Circuit, Minute, Transition
from tests.calls import fail, refusal, succeed
from tests.concurrency import in_threads, wait_until
from tests.factories import CircuitFactory
from tests.faults import soak
from tests.faults.proxy import Proxy, proxied

pytestmark = [
    pytest.mark.services,
    pytest.mark.usefixtures("committed"),
    pytest.mark.skipif(configured.TEST_DATABASE == "sqlite", reason="a file has no connections"),
]

#: Seconds that one question to the store may take, as docs/faults.md says: to connect, and to be
#: answered. A machine under load is given as much again.
BOUND: Final = OPTIONS[POSTGRESQL]["connect_timeout"] + SILENCE_SECONDS
MARGIN: Final = 10.0

THREADS: Final = 6


#: What most tests set it to, so as not to wait.
SHORT: Final = 2


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxied(SHORT) as made:
        yield made


def row() -> Any:
    """The circuit as another process sees it, which has no proxy in its way."""
    return Circuit.objects.using("default").get(name="payments")


@dataclass
class Calls:
    """What some threads called, and how long the longest call took, in seconds."""

    made: int = 0
    failed: int = 0
    longest: float = 0.0
    lock: Lock = field(default_factory=Lock)

    def make(self, fails: bool) -> None:
        """Make a call, which takes no time of its own."""
        began = time.monotonic()
        fail("payments") if fails else succeed("payments")
        took = time.monotonic() - began
        with self.lock:
            self.made += 1
            self.failed += fails
            self.longest = max(self.longest, took)


@contextmanager
def traffic() -> Iterator[Calls]:
    """Let threads call all the time, one call in ten of which fails."""
    calls, over = Calls(), Event()

    def keep_calling(index: int) -> None:
        number = 0
        try:
            while not over.wait(0.005):
                number += 1
                calls.make(fails=number % 10 == index)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(THREADS) as pool:
        threads = [pool.submit(keep_calling, index) for index in range(THREADS)]
        try:
            yield calls
        finally:
            over.set()
    for thread in threads:
        thread.result()


def go_on(calls: Calls, number: int = 100) -> None:
    """Wait until so many more calls have been made."""
    enough = calls.made + number
    wait_until(lambda: calls.made >= enough)


def outage_lines(caplog: pytest.LogCaptureFixture) -> int:
    return sum("does not answer" in message for message in caplog.messages)


def came_back(name: str) -> bool:
    succeed(name)
    return not breaker.store._down


def break_(proxy: Proxy, kind: str) -> None:
    match kind:
        case "reset":
            proxy.cut()
        case "refuse":
            proxy.cut(refuse=True)
        case "stall":
            proxy.stall()
        case "deaf":
            proxy.keep_answers()
        case "terminate":
            terminate_all()


def terminate_all() -> None:
    """Let the server end all connections of the site's but the one that asks for it."""
    with connections["default"].cursor() as cursor:
        if connections["default"].vendor == "postgresql":
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return
        cursor.execute(
            "SELECT id FROM information_schema.processlist"
            " WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        for (number,) in cursor.fetchall():
            cursor.execute("KILL %s", [number])


@pytest.mark.parametrize("kind", ["reset", "refuse", "deaf", "terminate"])
def test_traffic_goes_on_and_every_outcome_counts_at_most_once(
    kind: str, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise: no call fails for the store or waits for longer than its timeouts, one log line a
    minute says so, and the shared state counts again without a restart. No success is lost.
    """
    assert longest_of_traffic(kind, proxy, caplog) < 2 * SHORT + MARGIN


def test_a_stall_keeps_no_call_for_longer_than_the_reference_project_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Promise: the same, where the packets of a connection are dropped and nobody says so."""
    with proxied() as proxy:
        longest = longest_of_traffic("stall", proxy, caplog)
    assert SILENCE_SECONDS - 1 < longest < BOUND + MARGIN


def longest_of_traffic(kind: str, proxy: Proxy, caplog: pytest.LogCaptureFixture) -> float:
    """Break the store again and again under traffic; return the seconds of the longest call."""
    caplog.set_level(logging.WARNING, "circuits")
    CircuitFactory(name="payments", threshold=1_000_000)
    began = time.monotonic()
    with traffic() as calls:
        while True:
            go_on(calls)
            break_(proxy, kind)
            go_on(calls)
            connections.close_all()  # as the flush thread has none open either
            breaker.flusher._flush_once()
            proxy.mend()
            wait_until(lambda: not breaker.store._down)
            if time.monotonic() - began >= soak.seconds(0):
                break
    breaker.flusher._flush_once()
    assert row().total_successes == calls.made - calls.failed
    assert 0 < row().total_failures <= calls.failed
    assert outage_lines(caplog) <= 1 + (time.monotonic() - began) / 60
    assert (row().state, Transition.objects.count()) == ("closed", 0)
    return calls.longest


@pytest.mark.parametrize("kind", ["refuse", "stall"])
def test_the_process_protects_itself_while_the_store_is_gone(kind: str, proxy: Proxy) -> None:
    """Promise: without the store a circuit opens and refuses as it would with it."""
    CircuitFactory(name="payments", threshold=3, delay=60)
    succeed("payments")
    break_(proxy, kind)
    fail("payments", 3)  # the first of which finds out
    with suppress(circuits.CircuitOpenError):
        fail("payments", 3)
    assert refusal("payments").retry_after > 30
    assert row().state == "closed"
    proxy.mend()
    wait_until(lambda: circuits.get("payments").state == "closed")
    succeed("payments")


def test_nobody_waits_for_a_silent_store_but_the_one_who_tries_it(proxy: Proxy) -> None:
    """Promise: once the store is known to be gone, one caller at a time waits for it."""
    CircuitFactory(name="payments", threshold=1_000_000)
    succeed("payments")
    proxy.stall()
    wait_until(lambda: not came_back("payments"))

    def longest(index: int) -> float:
        calls = Calls()
        for number in range(200):
            calls.make(fails=number % 10 == 0)
            time.sleep(0.01)
        return calls.longest

    waited = sorted(in_threads(THREADS, longest))
    assert waited[-1] > 1, "somebody tried it"
    assert waited[THREADS // 2] < 1


def hear_no_more_after(step: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the store do a step of a transaction, and its commit go unanswered."""
    work = getattr(breaker.store.shared, step)

    def work_and_hear_no_more(*args: Any) -> Any:
        done = work(*args)
        proxy.keep_answers()
        return done

    monkeypatch.setattr(breaker.store.shared, step, work_and_hear_no_more)


def test_a_tally_whose_answer_was_lost_is_not_written_again(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: what the database may have counted without saying so is not counted twice."""
    CircuitFactory(name="payments")
    succeed("payments", 5)
    hear_no_more_after("_added", proxy, monkeypatch)
    with pytest.raises(InDoubtError):
        circuits.flush()
    monkeypatch.undo()
    proxy.mend()
    circuits.flush()
    assert row().total_successes == Minute.objects.get().successes == 5


def test_a_tally_that_was_cut_off_half_written_is_written_whole(proxy: Proxy) -> None:
    """Promise: of what a lost connection undid, nothing stays, and the next flush has it all."""
    CircuitFactory(name="payments")
    succeed("payments", 5)
    proxy.keep_answers()
    with pytest.raises(OperationalError):
        circuits.flush()
    proxy.mend()
    wait_until(lambda: came_back("payments"))
    circuits.flush()
    assert row().total_successes == Minute.objects.get().successes
    assert row().total_successes >= 5


def test_a_batch_of_the_rate_strategy_outlives_the_outage(proxy: Proxy) -> None:
    """Promise: what was gathered for the rate is merged after the outage, once."""
    CircuitFactory(name="payments", strategy="rate", minimum_calls=1000, failure_rate=0.9)
    succeed("payments", 4)
    fail("payments", 2)
    proxy.cut(refuse=True)
    with pytest.raises(Error):
        circuits.flush()
    proxy.mend()
    wait_until(lambda: came_back("payments"))
    circuits.flush()
    circuits.flush()
    buckets = row().window["buckets"]
    assert sum(failures for _, _, failures, _ in buckets) == 2
    assert sum(calls for _, calls, _, _ in buckets) >= 6


def test_a_batch_whose_commit_was_not_answered_is_not_merged_again(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: nor is a batch of the rate strategy that the database may have merged."""
    CircuitFactory(name="payments", strategy="rate", minimum_calls=1000)
    succeed("payments", 4)
    fail("payments", 2)
    hear_no_more_after("_decided", proxy, monkeypatch)
    with suppress(Error):
        circuits.flush()
    assert breaker.store._down
    monkeypatch.undo()
    proxy.mend()
    wait_until(lambda: came_back("payments"))
    circuits.flush()
    buckets = row().window["buckets"]
    assert sum(failures for _, _, failures, _ in buckets) == 2


def test_a_lock_held_by_somebody_else_keeps_nobody_for_longer() -> None:
    """Promise: the wait for a row that a stranger has locked is bounded too."""
    CircuitFactory(name="payments", threshold=2)
    succeed("payments")
    with transaction.atomic(using="default"):
        Circuit.objects.using("default").select_for_update().get(name="payments")
        calls = Calls()
        for _ in range(3):
            calls.make(fails=True)
    assert 1 < calls.longest < BOUND + MARGIN
