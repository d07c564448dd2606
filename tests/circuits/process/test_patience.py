"""How long a caller waits for a database that does not answer, and what happens to its work."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from threading import Event, current_thread, get_ident
from time import monotonic

import pytest
from pytest_django import Settings

from circuits.core import machine
from circuits.core.status import Mode, Step
from circuits.process.patience import BRIEF_SECONDS, answer_of, is_over
from circuits.process.pulse import Pulse
from circuits.process.workers import MOST, Workers
from circuits.storage.contract import Changed
from circuits.storage.database import DatabaseStore
from circuits.storage.errors import SilentError
from tests.clock import Clock
from tests.concurrency import PATIENCE, in_threads, wait_until


@pytest.fixture
def go() -> Iterator[Event]:
    """Yield an event that the work waits for; it is set at the end of the test."""
    event = Event()
    yield event
    event.set()


def quiet_pulse() -> Pulse:
    return Pulse(lambda: False, lambda: None)


def test_the_answer_comes_from_another_thread() -> None:
    assert answer_of(get_ident, Workers(), quiet_pulse()) != get_ident()


def test_what_the_work_raises_is_raised_a_timeout_of_its_own_too() -> None:
    def fail() -> None:
        raise TimeoutError("of the work")

    with pytest.raises(TimeoutError, match="of the work"):
        answer_of(fail, Workers(), quiet_pulse())


def test_nobody_waits_longer_than_the_setting_says(settings: Settings, go: Event) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "STORE_WAIT_SECONDS": 0.2}
    began = monotonic()
    with pytest.raises(SilentError):
        answer_of(lambda: go.wait(PATIENCE), Workers(), quiet_pulse())
    assert 0.2 <= monotonic() - began < PATIENCE / 2


def test_nobody_waits_once_the_pulse_has_noticed(settings: Settings, go: Event) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "STORE_WAIT_SECONDS": 3600}
    pulse = Pulse(lambda: go.wait(PATIENCE), lambda: None)
    pulse.ensure_running()
    pulse.look_soon()
    wait_until(pulse.is_silent)
    began = monotonic()
    with pytest.raises(SilentError):
        answer_of(lambda: go.wait(PATIENCE), Workers(), pulse)
    assert monotonic() - began < PATIENCE / 2
    go.set()
    pulse.stop()


def test_a_time_that_is_reached_is_over(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, go: Event
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "STORE_WAIT_SECONDS": 1}
    clock = Clock()
    monkeypatch.setattr("circuits.process.patience.monotonic", clock)
    pulse = Pulse(lambda: go.wait(PATIENCE), lambda: None)
    assert is_over(clock.now - 1, pulse)
    assert not is_over(clock.now - 0.99, pulse)
    pulse.ensure_running()
    pulse.look_soon()
    wait_until(pulse.is_silent)
    assert not is_over(clock.now, pulse), "a quick answer may still come"
    clock.now = BRIEF_SECONDS
    assert is_over(0.0, pulse)
    go.set()
    pulse.stop()


def test_work_that_nobody_waits_for_any_more_is_not_begun(settings: Settings, go: Event) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "STORE_WAIT_SECONDS": 0.2}
    workers, done = Workers(most=1), []
    blocking = workers.submit(lambda: go.wait(PATIENCE))
    with pytest.raises(SilentError):
        answer_of(lambda: done.append(1), workers, quiet_pulse())
    go.set()
    assert blocking.wait(PATIENCE)
    assert workers.submit(lambda: None).wait(PATIENCE)
    assert done == []


@pytest.mark.usefixtures("committed")
def test_a_change_that_was_made_too_late_for_its_caller_is_announced(
    settings: Settings, go: Event, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "STORE_WAIT_SECONDS": 0.2}
    caplog.set_level(logging.INFO, "circuits")
    workers = Workers()

    def force_open() -> Changed[Step]:
        go.wait(PATIENCE)
        return DatabaseStore().change(
            "payments", lambda row: machine.set_mode(row.status, Mode.FORCED_OPEN, row.now)
        )

    with pytest.raises(SilentError):
        answer_of(force_open, workers, quiet_pulse())
    assert not caplog.messages
    go.set()
    wait_until(lambda: caplog.messages)
    assert caplog.messages[0].startswith("Changed mode from automatic to forced_open (payments)")


def test_a_thread_knows_whose_worker_it_is() -> None:
    workers, others = Workers(), Workers()
    assert not workers.is_one()
    seen = workers.submit(lambda: (workers.is_one(), others.is_one(), current_thread()))
    assert seen.wait(PATIENCE)
    is_own, is_others, thread = seen.result()
    assert (is_own, is_others) == (True, False)
    assert (thread.name, thread.daemon) == ("circuits-worker", True)


def test_many_callers_share_few_threads(go: Event) -> None:
    workers = Workers()
    seen: set[int] = set()

    def work() -> None:
        seen.add(get_ident())

    in_threads(16, lambda index: answer_of(work, workers, quiet_pulse()))
    assert 1 <= len(seen) <= MOST


def test_there_are_no_more_threads_than_the_limit(go: Event) -> None:
    workers = Workers(most=2)
    threads: list[int] = []

    def work() -> None:
        threads.append(get_ident())
        go.wait(PATIENCE)

    errands = [workers.submit(work) for _ in range(6)]
    for _ in errands:
        workers.grow()
    wait_until(lambda: len(threads) == 2)
    go.set()
    assert all(each.wait(PATIENCE) for each in errands)
    assert len(set(threads)) == 2


def test_work_that_has_to_wait_for_a_thread_gets_another(go: Event) -> None:
    workers = Workers()
    blocking = workers.submit(lambda: go.wait(PATIENCE))
    assert answer_of(lambda: "done", workers, quiet_pulse()) == "done"
    assert not blocking.wait(0)
