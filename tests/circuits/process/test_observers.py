"""Observers learn of each call once and harm no call; without observers, nothing is spent."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import nullcontext
from contextvars import Context
from time import monotonic

import pytest
from pytest_django import Settings

import circuits
from circuits.core.status import State
from circuits.models import Circuit
from circuits.process import counts, entry, observers, runtime
from circuits.process.observers import CallOutcome
from tests.calls import under_way
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")


class Recorder:
    """An observer that remembers what it heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, CallOutcome, float]] = []

    def __call__(self, name: str, outcome: CallOutcome, seconds: float) -> None:
        self.heard.append((name, outcome, seconds))

    @property
    def outcomes(self) -> list[CallOutcome]:
        return [outcome for _name, outcome, _seconds in self.heard]


@pytest.fixture
def ear() -> Iterator[Recorder]:
    ear = Recorder()
    observers.add(ear)
    yield ear
    observers.remove(ear)


@pytest.fixture
def _opened(committed: None) -> None:
    CircuitFactory.create(name="payments", opened=True)


def call(error: BaseException | None = None) -> None:
    """Make a call that succeeds or raises an error, of which only ConnectionError is a failure."""
    with circuits.guard("payments", exceptions=ConnectionError):
        if error is not None:
            raise error


async def acall(error: BaseException | None = None) -> None:
    async with circuits.guard("payments", exceptions=ConnectionError):
        if error is not None:
            raise error


ENDINGS = [
    (None, CallOutcome.SUCCESS),
    (ConnectionError("down"), CallOutcome.FAILURE),
    (KeyError("a bug"), CallOutcome.IGNORED),
    (KeyboardInterrupt(), CallOutcome.IGNORED),
]


@pytest.mark.parametrize(("error", "outcome"), ENDINGS)
def test_how_a_call_ended(ear: Recorder, error: BaseException | None, outcome: CallOutcome) -> None:
    with pytest.raises(type(error)) if error else pytest.MonkeyPatch.context():
        call(error)
    assert [(name, heard) for name, heard, _ in ear.heard] == [("payments", outcome)]


@pytest.mark.parametrize(("error", "outcome"), ENDINGS[:3])
async def test_how_an_async_call_ended(
    ear: Recorder, error: BaseException | None, outcome: CallOutcome
) -> None:
    with pytest.raises(type(error)) if error else pytest.MonkeyPatch.context():
        await acall(error)
    assert ear.outcomes == [outcome]


async def test_a_cancelled_call_is_ignored(ear: Recorder) -> None:
    with pytest.raises(asyncio.CancelledError):
        await acall(asyncio.CancelledError())
    assert ear.outcomes == [CallOutcome.IGNORED]


def test_it_hears_how_long_a_call_took(ear: Recorder) -> None:
    with circuits.guard("payments"):
        time.sleep(0.05)
    [(_name, _outcome, seconds)] = ear.heard
    assert 0.05 <= seconds < 5


@pytest.mark.parametrize("known", [True, False])
def test_a_refused_call_took_no_time(ear: Recorder, known: bool) -> None:
    CircuitFactory.create(name="payments", opened=True)
    for _ in range(2 if known else 1):
        with pytest.raises(circuits.CircuitOpenError):
            call()
    assert set(ear.heard) == {("payments", CallOutcome.REFUSED, 0.0)}
    assert len(ear.heard) == (2 if known else 1)


@pytest.mark.usefixtures("_opened")
async def test_an_async_call_refused(ear: Recorder) -> None:
    with pytest.raises(circuits.CircuitOpenError):
        await acall()
    assert ear.outcomes == [CallOutcome.REFUSED]


def test_a_call_over_the_concurrency_limit_is_refused(ear: Recorder) -> None:
    CircuitFactory.create(name="payments", max_concurrent=1)
    with under_way("payments"), pytest.raises(circuits.CircuitBusyError):
        call()
    assert ear.outcomes == [CallOutcome.REFUSED, CallOutcome.SUCCESS]


def test_a_slow_call_is_a_failure(ear: Recorder) -> None:
    CircuitFactory.create(name="payments", slow_call_seconds=0.001)
    with circuits.guard("payments"):
        time.sleep(0.002)
    assert ear.outcomes == [CallOutcome.FAILURE]


def test_a_trial_is_a_call_like_any_other(ear: Recorder) -> None:
    CircuitFactory.create(name="payments", expired=True)
    call()
    assert ear.outcomes == [CallOutcome.SUCCESS]
    assert Circuit.objects.get().state == State.CLOSED


def test_what_an_observer_raises_harms_nobody(
    ear: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(name: str, outcome: CallOutcome, seconds: float) -> None:
        raise ZeroDivisionError("broken")

    observers.remove(ear)
    observers.add(broken)
    observers.add(ear)
    try:
        call()
        with pytest.raises(ConnectionError):
            call(ConnectionError("down"))
    finally:
        observers.remove(broken)
    assert ear.outcomes == [CallOutcome.SUCCESS, CallOutcome.FAILURE]
    assert Circuit.objects.get().failure_count == 1
    said = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in said] == ["An observer of the circuits failed."] * 2


def test_an_observer_added_twice_hears_once(ear: Recorder) -> None:
    observers.add(ear)
    call()
    assert len(ear.heard) == 1


def test_a_removed_observer_hears_no_more(ear: Recorder) -> None:
    call()
    observers.remove(ear)
    observers.remove(ear)
    call()
    assert len(ear.heard) == 1


def test_without_observers_all_calls_share_one_ticket() -> None:
    assert not observers.listening()
    entry.admit("payments")
    assert entry.admit("payments") is entry.admit("payments")
    assert runtime.gate("payments").view.plain_until > monotonic()


def test_with_one_too(ear: Recorder) -> None:
    entry.admit("payments")
    assert entry.admit("payments") is entry.admit("payments")
    assert runtime.gate("payments").view.plain_until > monotonic()


@pytest.mark.parametrize(("error", "outcome"), ENDINGS)
def test_how_plain_calls_ended_and_how_long_they_took(
    ear: Recorder, error: BaseException | None, outcome: CallOutcome, settings: Settings
) -> None:
    """These calls share a ticket, which does not know when each of them began."""
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 60}

    def work() -> None:
        for _ in range(3):
            call()
        assert entry.begin("payments", monotonic()).is_plain
        with (
            pytest.raises(type(error)) if error else nullcontext(),
            circuits.guard("payments", exceptions=ConnectionError),
        ):
            time.sleep(0.02)
            if error is not None:
                raise error

    Context().run(work)  # in which no call before has failed
    assert ear.outcomes == [*[CallOutcome.SUCCESS] * 3, outcome]
    seconds = [each for _name, _outcome, each in ear.heard]
    assert 0.02 <= seconds[-1] < 5
    assert max(seconds[:-1]) < 1


def test_where_two_plain_calls_share_a_failure_it_is_told_once(
    ear: Recorder, settings: Settings
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "SNAPSHOT_SECONDS": 60}
    for _ in range(3):
        call()
    with pytest.raises(ConnectionError), circuits.guard("payments"):
        call(ConnectionError("down"))
    assert ear.outcomes == [*[CallOutcome.SUCCESS] * 3, CallOutcome.FAILURE]


def test_an_observer_may_say_for_each_call_whether_to_tell_it(ear: Recorder) -> None:
    observers.remove(ear)
    wanted = [True, False, True]
    observers.add(ear, when=lambda: wanted.pop(0))
    for _ in range(3):
        call()
    assert ear.outcomes == [CallOutcome.SUCCESS] * 2
    assert not wanted


def test_a_call_that_observers_hear_of_is_counted_too(ear: Recorder) -> None:
    counts.keep("test")
    try:
        call()
        [counted] = counts.read()
    finally:
        counts.drop("test")
        counts.forget()
    [(_name, outcome, seconds)] = ear.heard
    assert outcome is CallOutcome.SUCCESS
    assert sum(counted.ended[CallOutcome.SUCCESS].calls) == 1
    assert sum(counted.ended[CallOutcome.SUCCESS].seconds) == seconds
