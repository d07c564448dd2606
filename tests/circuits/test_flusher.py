"""What a process has gathered is written down: now and then, at its end, and after a fork."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import OperationalError
from pytest_django import Settings

from circuits.flusher import Flusher
from circuits.models import Circuit
from tests.concurrency import in_processes, in_threads, wait_until


@pytest.fixture(autouse=True)
def _short_wait(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "FLUSH_SECONDS": 0.1}


@contextmanager
def running(flush: Callable[[], None], starters: int = 1) -> Iterator[Flusher]:
    flusher = Flusher(flush)
    in_threads(starters, lambda index: flusher.ensure_running())
    try:
        yield flusher
    finally:
        flusher.stop()


# The thread


def test_it_flushes_again_and_again() -> None:
    flushed: list[int] = []
    with running(lambda: flushed.append(1)):
        wait_until(lambda: len(flushed) >= 3)


def test_it_flushes_a_last_time_when_it_is_stopped(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "FLUSH_SECONDS": 3600}
    flushed: list[int] = []
    with running(lambda: flushed.append(1)):
        assert flushed == []
    assert flushed == [1]


def test_one_that_never_ran_has_nothing_to_flush() -> None:
    flushed: list[int] = []
    Flusher(lambda: flushed.append(1)).stop()
    assert flushed == []


def test_many_threads_start_it_once(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "FLUSH_SECONDS": 3600}
    flushed: list[int] = []
    with running(lambda: flushed.append(1), starters=20) as flusher:
        flusher.ensure_running()
    assert flushed == [1]


def test_it_does_not_start_again_after_its_end() -> None:
    flushed: list[int] = []
    with running(lambda: None) as flusher:
        pass
    flusher.forget()
    stopped = Flusher(lambda: flushed.append(1))
    stopped.stop()
    stopped.ensure_running()
    stopped.stop()
    assert flushed == []


def test_it_goes_on_after_the_database_failed_and_says_nothing_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    flushed: list[int] = []

    def flush() -> None:
        flushed.append(1)
        raise OperationalError("the database is gone")

    with running(flush):
        wait_until(lambda: len(flushed) >= 2)
    assert caplog.records == [], "the store has said so"


def test_it_goes_on_after_a_bug_and_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    flushed: list[int] = []

    def flush() -> None:
        flushed.append(1)
        raise ZeroDivisionError

    with running(flush):
        wait_until(lambda: len(flushed) >= 2)
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


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
