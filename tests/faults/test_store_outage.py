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
from django.db.transaction import Atomic

import circuits
from cbproject.databases import OPTIONS, POSTGRESQL, SILENCE_SECONDS
from circuits.models import Circuit, Minute, Transition
from circuits.process import flushing, runtime
from circuits.storage.database import DatabaseStore
from circuits.storage.errors import InDoubtError, code_of
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

#: Seconds that one query to the store may take to connect and to get its answer, as docs/faults.md
#: says. A machine under load may take twice as long.
BOUND: Final = OPTIONS[POSTGRESQL]["connect_timeout"] + SILENCE_SECONDS
MARGIN: Final = 10.0

THREADS: Final = 6

#: The most seconds that a call waits for the store by default.
STORE_WAIT_SECONDS: Final = 1.0


#: MariaDB's code for a session that it does not know.
NO_SUCH_SESSION: Final = 1094

#: The timeout in seconds that most tests set, to be fast.
SHORT: Final = 2


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxied(SHORT) as made:
        yield made


def row() -> Any:
    """Return the circuit's row as another process sees it, without the proxy."""
    return Circuit.objects.using("default").get(name="payments")


@dataclass
class Calls:
    """Counts the calls of some threads, and keeps the seconds of the longest."""

    made: int = 0
    failed: int = 0
    longest: float = 0.0
    lock: Lock = field(default_factory=Lock)

    def make(self, fails: bool) -> None:
        """Make a call whose work takes no time."""
        began = time.monotonic()
        fail("payments") if fails else succeed("payments")
        took = time.monotonic() - began
        with self.lock:
            self.made += 1
            self.failed += fails
            self.longest = max(self.longest, took)


@contextmanager
def traffic() -> Iterator[Calls]:
    """Let threads make calls while the block runs, of which one in ten fails."""
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


def wait_for_calls(calls: Calls, number: int = 100) -> None:
    """Wait until ``number`` further calls have been made."""
    enough = calls.made + number
    wait_until(lambda: calls.made >= enough)


def outage_lines(caplog: pytest.LogCaptureFixture) -> int:
    return sum("does not answer" in message for message in caplog.messages)


def came_back(name: str) -> bool:
    succeed(name)
    return not runtime.store.is_left


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
    """Let the server end all connections of the site except the one that asks for it."""
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
            try:
                cursor.execute("KILL %s", [number])
            except OperationalError as error:
                if code_of(error) != NO_SUCH_SESSION:  # it has ended by itself
                    raise


@pytest.mark.parametrize("kind", ["reset", "refuse", "deaf", "terminate"])
def test_traffic_goes_on_and_every_outcome_counts_at_most_once(
    kind: str, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise: no call fails because of the store, or waits longer than the store's timeouts.

    One log line a minute says so, and the shared state takes over again without a restart. No
    success is lost except those in doubt.
    """
    assert longest_of_traffic(kind, proxy, caplog) < 2 * SHORT + MARGIN


@contextmanager
def pulsing() -> Iterator[None]:
    """Let the background thread run, which does not start by itself in tests."""
    runtime.pulse.ensure_running()
    wait_until(runtime.pulse.is_running)
    try:
        yield
    finally:
        runtime.pulse.stop()
        runtime.pulse.forget()


@pytest.mark.parametrize("kind", ["stall", "deaf"])
def test_a_silent_server_holds_no_call_up_for_longer_than_the_setting_says(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise: a call waits ``STORE_WAIT_SECONDS`` at most, far less than the timeouts."""
    with pulsing(), proxied() as proxy:
        longest = longest_of_traffic(kind, proxy, caplog)
    assert longest < STORE_WAIT_SECONDS + 1 < SILENCE_SECONDS - 1


def test_a_stall_keeps_no_call_for_longer_than_the_reference_project_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Promise: without a background thread, a call waits no longer than the timeouts."""
    with proxied() as proxy:
        longest = longest_of_traffic("stall", proxy, caplog)
    assert OPTIONS[POSTGRESQL]["connect_timeout"] - 1 < longest < BOUND + MARGIN


@contextmanager
def doubted_flushes() -> Iterator[list[InDoubtError]]:
    """Collect the flushes whose commit is in doubt, since the log names one error a minute only."""
    found: list[InDoubtError] = []
    flush = DatabaseStore.flush

    def noting(store: DatabaseStore, tallies: Any) -> Any:
        try:
            return flush(store, tallies)
        except InDoubtError as error:
            found.append(error)
            raise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseStore, "flush", noting)
        yield found


def longest_of_traffic(kind: str, proxy: Proxy, caplog: pytest.LogCaptureFixture) -> float:
    """Break the store repeatedly under traffic; return the seconds of the longest call."""
    caplog.set_level(logging.WARNING, "circuits")
    CircuitFactory(name="payments", threshold=1_000_000)
    began = time.monotonic()
    with doubted_flushes() as doubts, traffic() as calls:
        while True:
            wait_for_calls(calls)
            break_(proxy, kind)
            wait_for_calls(calls)
            connections.close_all()  # as the flush thread has none open either
            flushing.flush_in_background(circuits.flush)
            proxy.mend()
            wait_until(lambda: not runtime.store.is_left)
            if time.monotonic() - began >= soak.seconds(0):
                break

    def is_written() -> bool:
        flushing.flush_in_background(circuits.flush)  # a connection may yet be found to be lost
        return not runtime.gate("payments").tallies.holds_any()

    wait_until(is_written)
    # Successes in doubt, whose connection was lost during the commit, are not written again.
    lost = calls.made - calls.failed - row().total_successes
    assert lost == 0 or (doubts and lost > 0)
    assert 0 < row().total_failures <= calls.failed
    assert outage_lines(caplog) <= 1 + (time.monotonic() - began) / 60
    assert (row().state, Transition.objects.count()) == ("closed", 0)
    return calls.longest


@pytest.mark.parametrize("kind", ["refuse", "stall"])
def test_the_process_protects_itself_while_the_store_is_gone(kind: str, proxy: Proxy) -> None:
    """Promise: without the store, a circuit opens and refuses as it would with it."""
    CircuitFactory(name="payments", threshold=3, delay=60)
    succeed("payments")
    break_(proxy, kind)
    fail("payments", 3)  # the first of which notices it
    with suppress(circuits.CircuitOpenError):
        fail("payments", 3)
    assert refusal("payments").retry_after > 30
    assert row().state == "closed"
    proxy.mend()
    wait_until(lambda: circuits.get("payments").state == "closed")
    succeed("payments")


def test_nobody_waits_for_a_silent_store_but_the_one_who_tries_it(proxy: Proxy) -> None:
    """Promise: once the store is known to be gone, only one caller at a time waits for it."""
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


@contextmanager
def no_commit_answered(proxy: Proxy) -> Iterator[None]:
    """Let the database answer the statements of a transaction, but not its commit."""
    end = Atomic.__exit__

    def end_unheard(block: Atomic, kind: Any, *details: Any) -> None:
        blocks = connections["circuits"].atomic_blocks
        if kind is None and block in blocks[:1]:  # the outermost one, which commits
            proxy.keep_answers()
        end(block, kind, *details)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Atomic, "__exit__", end_unheard)
        yield


def test_a_tally_whose_answer_was_lost_is_not_written_again(proxy: Proxy) -> None:
    """Promise: outcomes that the database may have counted already are not counted twice."""
    CircuitFactory(name="payments")
    succeed("payments", 5)
    with no_commit_answered(proxy), pytest.raises(InDoubtError):
        circuits.flush()
    proxy.mend()
    circuits.flush()
    assert row().total_successes == Minute.objects.get().successes == 5


def test_a_tally_that_was_cut_off_half_written_is_written_whole(proxy: Proxy) -> None:
    """Promise: a lost connection rolls back the whole flush, and the next one writes everything."""
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
    """Promise: outcomes gathered for the rate strategy are merged once, after the outage."""
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


def test_a_batch_whose_commit_was_not_answered_is_not_merged_again(proxy: Proxy) -> None:
    """Promise: a batch of the rate strategy that may have been merged is not merged again."""
    CircuitFactory(name="payments", strategy="rate", minimum_calls=1000)
    succeed("payments", 4)
    fail("payments", 2)
    with no_commit_answered(proxy), suppress(Error):
        circuits.flush()
    assert runtime.store.is_left
    proxy.mend()
    wait_until(lambda: came_back("payments"))
    circuits.flush()
    buckets = row().window["buckets"]
    assert sum(failures for _, _, failures, _ in buckets) == 2


def test_a_lock_held_by_somebody_else_keeps_nobody_for_longer() -> None:
    """Promise: the wait for a row that another program has locked is bounded too."""
    CircuitFactory(name="payments", threshold=2)
    succeed("payments")
    with transaction.atomic(using="default"):
        Circuit.objects.using("default").select_for_update().get(name="payments")
        calls = Calls()
        for _ in range(3):
            calls.make(fails=True)
    assert 1 < calls.longest < BOUND + MARGIN
