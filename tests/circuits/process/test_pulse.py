"""The background thread: when it renews, when it writes, and what it notices."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread, Timer, current_thread

import pytest
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from pytest_django import Settings

import circuits
from circuits.models import Circuit
from circuits.process import flushing, renewal, runtime
from circuits.process.errands import Errand
from circuits.process.pulse import SILENT_SECONDS, Pulse
from circuits.process.workers import Workers
from circuits.storage.contract import Snapshot
from tests.clock import Clock
from tests.concurrency import PATIENCE, in_processes, in_threads, wait_until
from tests.factories import CircuitFactory


@pytest.fixture(autouse=True)
def _short_waits(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "FLUSH_SECONDS": 0.1, "SNAPSHOT_SECONDS": 0.02}


@contextmanager
def running(
    renew: Callable[[], bool] = lambda: False,
    flush: Callable[[], None] = lambda: None,
    submit: Callable[[Callable[[], None]], Errand[None]] | None = None,
    starters: int = 1,
) -> Iterator[Pulse]:
    pulse = Pulse(renew, flush, submit)
    in_threads(starters, lambda index: pulse.ensure_running())
    wait_until(pulse.is_running)
    try:
        yield pulse
    finally:
        pulse.stop()


# Writing


def test_it_flushes_again_and_again() -> None:
    flushed: list[int] = []
    with running(flush=lambda: flushed.append(1)):
        wait_until(lambda: len(flushed) >= 3)


def test_it_flushes_a_last_time_when_it_is_stopped(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "FLUSH_SECONDS": 3600}
    flushed: list[int] = []
    with running(flush=lambda: flushed.append(1)):
        assert flushed == []
    assert flushed == [1]


def test_its_thread_has_a_name_and_does_not_keep_the_process_alive() -> None:
    seen: list[Thread] = []
    with running(flush=lambda: seen.append(current_thread())):
        wait_until(lambda: seen)
    assert (seen[0].name, seen[0].daemon) == ("circuits-pulse", True)


def test_one_that_never_ran_has_nothing_to_flush() -> None:
    flushed: list[int] = []
    Pulse(lambda: False, lambda: flushed.append(1)).stop()
    assert flushed == []


def test_many_threads_start_it_once(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "FLUSH_SECONDS": 3600}
    flushed: list[int] = []
    with running(flush=lambda: flushed.append(1), starters=20) as pulse:
        pulse.ensure_running()
    assert flushed == [1]


def test_it_does_not_start_again_after_its_end() -> None:
    flushed: list[int] = []
    pulse = Pulse(lambda: False, lambda: flushed.append(1))
    pulse.stop()
    pulse.ensure_running()
    pulse.stop()
    assert (pulse.is_running(), flushed) == (False, [])


def test_it_goes_on_after_the_database_failed_and_says_nothing_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    flushed: list[int] = []

    def flush() -> None:
        flushed.append(1)
        raise OperationalError("the database is gone")

    with running(flush=lambda: flushing.flush_in_background(flush)):
        wait_until(lambda: len(flushed) >= 2)
    assert caplog.records == [], "the store has said so"


def test_it_goes_on_after_a_bug_and_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    flushed: list[int] = []

    def flush() -> None:
        flushed.append(1)
        raise ZeroDivisionError

    with running(flush=lambda: flushing.flush_in_background(flush)):
        wait_until(lambda: len(flushed) >= 3)
    [record] = caplog.records  # one line a minute, not one each time
    assert record.levelno == logging.ERROR
    assert record.getMessage() == (
        "Could not write down all successes and refusals; they are kept for the next time, and all "
        "other circuits are written."
    )
    assert "ZeroDivisionError" in caplog.text
    assert "in flush" in caplog.text, "its traceback"


def test_a_bug_in_a_renewal_ends_neither_the_renewals_nor_the_writing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    renewed: list[int] = []
    flushed: list[int] = []

    def renew() -> bool:
        renewed.append(1)
        raise ZeroDivisionError

    with running(renew, lambda: flushed.append(1)) as pulse:
        pulse.keep_up()
        wait_until(lambda: len(renewed) >= 3 and len(flushed) >= 3)
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "The circuits' background thread met an error, and goes on."
    assert "in renew" in caplog.text, "its traceback"


@pytest.mark.usefixtures("committed")
def test_a_row_that_makes_no_sense_keeps_no_other_view_from_being_renewed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("a", "senseless", "z"):
        with circuits.guard(name):
            pass
    Circuit.objects.filter(name="senseless").update(window={"buckets": 7})
    Circuit.objects.exclude(name="senseless").update(threshold=99)
    assert renewal.renew(runtime.gates, runtime.store)
    for name in ("a", "z"):
        known = runtime.gate(name).snapshot
        assert known
        assert known.policy.threshold == 99
    assert "The row of the circuit senseless cannot be understood" in caplog.text


@pytest.mark.usefixtures("committed")
def test_a_view_that_cannot_be_renewed_keeps_no_other_from_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "z"):
        with circuits.guard(name):
            pass

    def take(snapshot: Snapshot) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(runtime.gate("a"), "take", take)
    Circuit.objects.update(threshold=99)
    for _ in range(3):
        assert renewal.renew(runtime.gates, runtime.store)
    known = runtime.gate("z").snapshot
    assert known
    assert known.policy.threshold == 99
    [record] = caplog.records
    assert record.getMessage() == "Could not renew what is known of the circuit a."
    assert record.exc_info


@pytest.mark.usefixtures("committed")
def test_the_thread_writes_all_circuits_but_the_one_in_trouble(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("senseless", "payments"):
        CircuitFactory.create(name=name, strategy="rate")
        with circuits.guard(name):
            pass
    Circuit.objects.filter(name="senseless").update(window={"buckets": 7})
    with running(flush=lambda: flushing.flush_in_background(circuits.flush)):
        wait_until(lambda: total_successes() == 1)
    assert "TypeError" in caplog.text
    assert "The circuit is senseless." in caplog.text


@pytest.mark.usefixtures("committed")
def test_it_keeps_no_connection_while_no_calls_come() -> None:
    used: list[BaseDatabaseWrapper] = []

    def flush() -> None:
        connections["circuits"].ensure_connection()
        used.append(connections["circuits"])

    with running(flush=flush):
        wait_until(lambda: used and used[0].connection is None, seconds=10)


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("keeps_on", [False, True], ids=["idle", "stopped"])
def test_the_thread_keeps_no_connection_of_its_own_longer_than_it_needs_one(keeps_on: bool) -> None:
    used: list[BaseDatabaseWrapper] = []

    def renew() -> bool:
        connections["circuits"].ensure_connection()
        used.append(connections["circuits"])
        return keeps_on

    with running(renew, lambda: None, Workers().submit) as pulse:
        pulse.keep_up()
        wait_until(lambda: used)
        if not keeps_on:
            wait_until(lambda: used[0].connection is None, seconds=10)
    wait_until(lambda: used[0].connection is None, seconds=10)


@pytest.mark.usefixtures("committed")
def test_the_thread_that_writes_keeps_no_connection_while_no_calls_come() -> None:
    used: list[BaseDatabaseWrapper] = []

    def flush() -> None:
        connections["circuits"].ensure_connection()
        used.append(connections["circuits"])

    with running(lambda: False, flush, Workers().submit):
        wait_until(lambda: used and used[0].connection is None, seconds=10)


# Renewing


def test_it_renews_while_calls_come_and_asks_nothing_while_none_do() -> None:
    renewed: list[int] = []
    in_use = [True]

    def renew() -> bool:
        renewed.append(1)
        return in_use[0]

    flushed: list[int] = []
    with running(renew, lambda: flushed.append(1)) as pulse:
        wait_until(lambda: len(flushed) >= 1)
        assert renewed == [], "no call has come yet"
        pulse.keep_up()
        wait_until(lambda: len(renewed) >= 5)
        in_use[0] = False
        before = len(renewed)
        wait_until(lambda: len(renewed) > before)
        idle, writes = len(renewed), len(flushed)
        wait_until(lambda: len(flushed) >= writes + 3)
        assert len(renewed) == idle


def test_it_looks_at_once_where_somebody_waits_for_it(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "FLUSH_SECONDS": 3600, "SNAPSHOT_SECONDS": 60}
    renewed = Event()

    def renew() -> bool:
        renewed.set()
        return True

    with running(renew) as pulse:
        pulse.look_soon()
        assert renewed.wait(PATIENCE)


def test_callers_renew_by_themselves_where_they_ask_for_the_state_at_each_call(
    settings: Settings,
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 0}
    with running() as pulse:
        assert pulse.is_running()
        assert not pulse.is_renewing()


def test_what_is_due_at_a_moment_is_done_at_that_moment(clock: Clock) -> None:
    did: list[str] = []

    def renew() -> bool:
        did.append("renew")
        return True

    def tend() -> float:
        did.append("tend")
        return clock.now + 5

    pulse = Pulse(renew, lambda: did.append("flush"), tend=tend)
    pulse.beat()
    assert did == []
    pulse.look_soon()
    pulse.tend_by(clock.now + 1)
    pulse.tend_by(clock.now + 3)  # which is later, and changes nothing
    pulse.beat()
    assert did == ["renew"]
    clock.pass_by(1)
    pulse.beat()
    assert did == ["renew", "renew", "tend"], "SNAPSHOT_SECONDS have passed as well"
    clock.pass_by(5)
    pulse.beat()
    assert did[3:] == ["renew", "tend"]


# Noticing


def test_it_is_silent_when_no_answer_comes_and_no_longer_when_one_does() -> None:
    asked, answer = Event(), Event()

    def renew() -> bool:
        asked.set()
        return answer.wait(PATIENCE)

    with running(renew) as pulse:
        pulse.look_soon()
        assert asked.wait(PATIENCE)
        assert not pulse.is_silent()
        wait_until(pulse.is_silent)
        answer.set()
        wait_until(lambda: not pulse.is_silent())


def test_a_long_flush_holds_up_no_renewal_and_makes_no_silence() -> None:
    began, go = Event(), Event()
    renewed: list[int] = []

    def flush() -> None:
        began.set()
        assert go.wait(PATIENCE)

    def renew() -> bool:
        renewed.append(1)
        return True

    pulse = Pulse(renew, flush, submit=Workers().submit)
    pulse.ensure_running()
    pulse.keep_up()
    assert began.wait(PATIENCE)
    before = len(renewed)
    wait_until(lambda: len(renewed) >= before + 2 * SILENT_SECONDS / 0.02)
    assert not pulse.is_silent()
    go.set()
    pulse.stop()


def test_the_last_flush_waits_for_the_one_under_way() -> None:
    began, go = Event(), Event()
    flushed: list[str] = []

    def flush() -> None:
        first = not began.is_set()
        began.set()
        if first:
            assert go.wait(PATIENCE)
        flushed.append("first" if first else "last")

    pulse = Pulse(lambda: False, flush, submit=Workers().submit)
    pulse.ensure_running()
    assert began.wait(PATIENCE)
    Timer(0.05, go.set).start()
    pulse.stop()
    assert flushed == ["first", "last"]


# Whole processes


def total_successes() -> int:
    return Circuit.objects.get(name="payments").total_successes


@pytest.mark.usefixtures("committed")
def test_the_first_call_of_a_process_starts_the_flushing() -> None:
    in_processes(1, "flush_by_itself", name="payments")
    assert total_successes() == 1


@pytest.mark.usefixtures("committed")
def test_a_process_that_ends_writes_down_what_it_has_gathered(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "FLUSH_SECONDS": 3600}
    in_processes(2, "succeed", name="payments", count=10)
    assert total_successes() == 20


@pytest.mark.usefixtures("committed")
def test_a_fork_counts_what_was_gathered_before_and_after_it_once(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "FLUSH_SECONDS": 3600}
    assert in_processes(1, "fork", name="payments", before=3, after=2) == [0]
    assert total_successes() == 5
