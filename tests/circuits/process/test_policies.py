"""Policies other than failures in a row, tested by calls on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.db.models import F
from pytest_django import Settings

import circuits
from circuits.models import Circuit
from circuits.process import entry, gate, observers, results, runtime
from circuits.process.observers import CallOutcome
from tests import clock as clocks
from tests.calls import play, under_way
from tests.clock import Clock
from tests.concurrency import in_processes
from tests.factories import CircuitFactory
from tests.outage import no_database

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = clocks.install(monkeypatch)
    yield clock
    runtime.forget()


def row(name: str) -> Circuit:
    return Circuit.objects.get(name=name)


def reasons(name: str) -> list[str]:
    return list(row(name).transitions.order_by("id").values_list("reason", flat=True))


def let_delay_pass(name: str) -> None:
    Circuit.objects.filter(name=name).update(retry_at=F("retry_at") - timedelta(hours=1))
    runtime.forget()


# The failure rate


def rate_circuit(**policy: Any) -> str:
    return CircuitFactory.create(
        strategy="rate", **{"minimum_calls": 4, "failure_rate": 0.5, **policy}
    ).name


def test_the_share_of_failures_opens_the_circuit_at_once_in_one_process() -> None:
    name = rate_circuit()
    assert play(name, ".f.f.") == ".f.fr"
    assert reasons(name) == ["failure_rate"]
    assert row(name).last_error == "ConnectionError: down"
    told = "50 % of 4 calls failed, limit 50 %; last: ConnectionError: down"
    assert row(name).transitions.get().detail == told
    assert row(name).total_failures == 2


@pytest.mark.parametrize(
    ("rate", "calls", "failures"), [(0.07, 100, 7), (0.29, 100, 29), (0.57, 100, 57), (0.1, 30, 3)]
)
def test_a_share_that_is_reached_opens_the_circuit(rate: float, calls: int, failures: int) -> None:
    name = rate_circuit(failure_rate=rate, minimum_calls=calls)
    play(name, "." * (calls - failures) + "f" * (failures - 1))
    assert row(name).state == "closed"
    play(name, "f")
    assert row(name).state == "open"


def test_failures_in_a_row_do_not_open_it() -> None:
    name = rate_circuit(threshold=1, minimum_calls=100)
    assert play(name, "f" * 20) == "f" * 20
    assert row(name).state == "closed"


def test_the_rate_over_the_last_calls_forgets_older_ones() -> None:
    name = rate_circuit(window_calls=4, minimum_calls=4)
    assert play(name, "f......f.") == "f......f."
    assert play(name, "f") == "f"
    assert row(name).state == "open"


def test_a_success_of_the_rate_policy_asks_nothing_of_the_database(
    django_assert_num_queries: Any,
) -> None:
    name = rate_circuit()
    play(name, ".")
    with django_assert_num_queries(0, connection=connections["circuits"]):
        play(name, "...")


def test_a_success_opens_nothing_before_the_next_flush() -> None:
    name = rate_circuit(minimum_calls=4)
    assert play(name, "fff..") == "fff..", "the fourth call is a success"
    assert row(name).state == "closed"
    circuits.flush()
    assert row(name).state == "open"


def test_a_flush_merges_what_was_gathered() -> None:
    name = rate_circuit(minimum_calls=100)
    play(name, "..f")
    assert row(name).window is None
    circuits.flush()
    kept = row(name).window
    assert kept is not None
    [bucket] = kept["buckets"]
    assert bucket[1:] == [3, 1, 0]


def test_where_each_process_is_below_the_minimum_they_open_it_together() -> None:
    name = rate_circuit(minimum_calls=6)
    for _ in range(3):
        assert play(name, "f.") == "f."
        assert row(name).state == "closed"
        circuits.flush()
        runtime.forget()  # the next calls are another process's
    assert row(name).state == "open"
    assert reasons(name) == ["failure_rate"]


def test_successes_elsewhere_keep_it_closed() -> None:
    name = rate_circuit(minimum_calls=6)
    play(name, "." * 20)
    circuits.flush()
    runtime.forget()
    assert play(name, "f" * 8) == "f" * 8
    circuits.flush()
    assert row(name).state == "closed"


def test_several_processes_open_it_once_and_none_runs_ahead() -> None:
    name = rate_circuit(minimum_calls=20, failure_rate=0.5)
    healthy = in_processes(4, "mixed_calls", name=name, count=100, every=4)
    assert all(each == {"failed": 25, "refused": 0} for each in healthy)
    assert row(name).state == "closed"
    # The calls may have begun in one bucket and ended in the next.
    buckets = (row(name).window or {})["buckets"]
    assert [sum(counts) for counts in zip(*buckets, strict=True)][1:3] == [400, 100]

    in_processes(4, "mixed_calls", name=name, count=800, every=1)
    assert row(name).state == "open"
    assert reasons(name) == ["failure_rate"]


def test_old_outcomes_leave_the_window() -> None:
    name = rate_circuit(minimum_calls=4)
    play(name, "fff")
    circuits.flush()
    kept = row(name).window
    assert kept is not None
    kept["buckets"] = [[bucket[0] - 120, *bucket[1:]] for bucket in kept["buckets"]]
    Circuit.objects.filter(name=name).update(window=kept)
    runtime.forget()
    play(name, "f...")
    circuits.flush()
    assert row(name).state == "closed"


def test_a_trial_decides_by_itself_after_the_rate_opened() -> None:
    name = rate_circuit()
    play(name, "ffff")
    let_delay_pass(name)
    assert play(name, "f") == "f"
    assert row(name).state == "open"
    let_delay_pass(name)
    assert play(name, ".") == "."
    assert row(name).state == "closed"
    assert row(name).window is None


def test_in_memory_too_the_share_of_failures_opens_the_circuit(settings: Settings) -> None:
    policy = {"strategy": "rate", "minimum_calls": 4, "failure_rate": 0.5}
    settings.CIRCUITS = {**settings.CIRCUITS, "CIRCUITS": {"payments": policy}}
    with no_database():
        assert play("payments", "f.f.") == "f.f."
        assert play("payments", "ff") == "fr"


# Slow calls


def slow_calls(clock: Clock, name: str, number: int, seconds: float) -> str:
    said = ""
    for _ in range(number):
        try:
            with circuits.guard(name):
                clock.now += seconds
            said += "."
        except circuits.CircuitOpenError:
            said += "r"
    return said


def test_answers_that_come_too_late_count_as_failures_in_a_row(clock: Clock) -> None:
    name = CircuitFactory.create(slow_call_seconds=2, threshold=3).name
    assert slow_calls(clock, name, 5, 2.5) == "...rr"
    assert reasons(name) == ["failures"]
    assert row(name).last_error == "SlowCall: it took 2.5 seconds"
    assert row(name).total_failures == 3
    circuits.flush()
    assert row(name).total_successes == 0


def test_answers_in_time_count_as_successes(clock: Clock) -> None:
    name = CircuitFactory.create(slow_call_seconds=2, threshold=3).name
    assert slow_calls(clock, name, 2, 2.5) == ".."
    assert slow_calls(clock, name, 1, 1.9) == "."
    assert slow_calls(clock, name, 2, 2.5) == ".."
    assert row(name).state == "closed"


@pytest.mark.parametrize("limit", [0.1, 0.7, 2, 2.3])
def test_a_call_is_slow_once_the_time_is_reached(clock: Clock, limit: float) -> None:
    clock.now = 0.1  # 0.1 + 0.7 - 0.1 is less than 0.7
    name = CircuitFactory.create(slow_call_seconds=limit, threshold=2).name
    assert slow_calls(clock, name, 3, limit) == "..r"


def test_the_share_of_slow_calls_opens_by_the_rate_strategy(clock: Clock) -> None:
    name = rate_circuit(slow_call_seconds=2, slow_call_rate=0.5)
    assert slow_calls(clock, name, 2, 0.1) == ".."
    assert slow_calls(clock, name, 2, 3) == ".."
    assert slow_calls(clock, name, 1, 0.1) == "r"
    assert reasons(name) == ["slow_calls"]


def test_a_slow_call_that_says_nothing_else_counts_as_slow_all_the_same(clock: Clock) -> None:
    name = rate_circuit(slow_call_seconds=2, slow_call_rate=0.5)
    assert slow_calls(clock, name, 2, 0.1) == ".."
    for _ in range(2):
        with suppress(KeyError), circuits.guard(name, exceptions=ConnectionError):
            clock.now += 3
            raise KeyError("a bug of the caller's")
    assert slow_calls(clock, name, 1, 0.1) == "r"
    assert reasons(name) == ["slow_calls"]


@pytest.mark.parametrize("is_observed", [False, True])
def test_a_call_that_began_before_the_policy_was_set_is_not_slow(
    clock: Clock, request: pytest.FixtureRequest, is_observed: bool
) -> None:
    heard: list[CallOutcome] = []

    def observe(name: str, outcome: CallOutcome, seconds: float) -> None:
        heard.append(outcome)

    if is_observed:
        observers.add(observe)
        request.addfinalizer(lambda: observers.remove(observe))
    name = CircuitFactory.create(threshold=1).name
    play(name, ".")
    with circuits.guard(name):
        Circuit.objects.filter(name=name).update(slow_call_seconds=2)
        clock.now += 3
        assert play(name, ".") == "."
    assert row(name).state == "closed"
    assert set(heard) == ({CallOutcome.SUCCESS} if is_observed else set())


def test_a_slow_trial_is_a_failed_one(clock: Clock) -> None:
    name = CircuitFactory.create(expired=True, slow_call_seconds=2).name
    assert slow_calls(clock, name, 1, 3) == "."
    assert row(name).state == "open"
    assert reasons(name) == ["delay_passed", "trial_failed"]


# The growing delay


def wait_of(name: str) -> float:
    circuit = row(name)
    assert circuit.retry_at is not None
    assert circuit.opened_at is not None
    return (circuit.retry_at - circuit.opened_at).total_seconds()


def test_the_delay_grows_with_each_failed_trial_and_falls_back_after_a_recovery() -> None:
    name = CircuitFactory.create(threshold=1, delay=10, backoff_factor=3, max_delay=60).name
    waits = []
    for _ in range(4):
        play(name, "f")
        waits.append(wait_of(name))
        let_delay_pass(name)
    assert waits == pytest.approx([10, 30, 60, 60])
    assert play(name, ".") == "."
    play(name, "f")
    assert wait_of(name) == pytest.approx(10)


def test_full_jitter_spreads_the_grown_delay_repeatably_when_seeded() -> None:
    def waits() -> list[float]:
        gate.random.seed(7)
        name = CircuitFactory.create(threshold=1, delay=10, backoff_factor=2, jitter=1).name
        found = []
        for _ in range(4):
            play(name, "f")
            found.append(wait_of(name))
            let_delay_pass(name)
        return found

    first, second = waits(), waits()
    assert first == pytest.approx(second, abs=0.001)
    assert first[0] == pytest.approx(10), "that of the opening has not grown"
    assert all(0 < wait < limit - 0.01 for wait, limit in zip(first[1:], (20, 40, 80), strict=True))
    assert len({round(wait, 2) for wait in first}) == 4


# The ramp-up


def recovered(name: str) -> None:
    let_delay_pass(name)
    assert play(name, ".") == "."


def test_after_a_recovery_a_growing_share_passes() -> None:
    gate.random.seed(1)
    name = CircuitFactory.create(opened=True, ramp_up_seconds=100).name
    recovered(name)
    shares = []
    for seconds in (0, 50, 80, 101):
        Circuit.objects.filter(name=name).update(
            recovered_at=F("state_changed_at") - timedelta(seconds=seconds)
        )
        runtime.forget()
        shares.append(play(name, "." * 200).count(".") / 200)
    assert shares[0] == pytest.approx(0.1, abs=0.08)
    assert shares[1] == pytest.approx(0.5, abs=0.12)
    assert shares[2] == pytest.approx(0.8, abs=0.12)
    assert shares[3] == 1


def test_a_refusal_of_the_ramp_up_says_when_to_come_back() -> None:
    name = CircuitFactory.create(opened=True, ramp_up_seconds=1_000).name
    recovered(name)
    waits = []
    for _ in range(200):
        try:
            results.succeed(entry.admit(name))
        except circuits.CircuitOpenError as refused:
            waits.append(refused.retry_after)
    assert waits
    assert all(0 < wait <= 1 for wait in waits)


def test_without_a_ramp_up_all_pass_at_once() -> None:
    name = CircuitFactory.create(opened=True).name
    recovered(name)
    assert play(name, "." * 50) == "." * 50


def test_a_reset_by_hand_needs_no_ramp_up() -> None:
    name = CircuitFactory.create(opened=True, ramp_up_seconds=1_000).name
    circuits.get(name).reset()
    assert play(name, "." * 50) == "." * 50


# The limit of concurrent calls


def test_calls_over_the_limit_are_refused_as_busy() -> None:
    name = CircuitFactory.create(max_concurrent=2).name
    busy = pytest.raises(circuits.CircuitBusyError, match=f"Too many calls to {name} at once")
    with under_way(name), under_way(name), busy, circuits.guard(name):
        pass
    assert play(name, "...") == "..."
    circuits.flush()
    assert row(name).total_refusals == 1
    assert row(name).state == "closed"


@pytest.mark.parametrize("error", [ConnectionError("down"), KeyboardInterrupt(), ValueError("bug")])
def test_a_place_is_given_back_however_the_call_ends(error: BaseException) -> None:
    name = CircuitFactory.create(max_concurrent=1, threshold=100).name
    for _ in range(3):
        with pytest.raises(type(error)), circuits.guard(name, exclude=ValueError):
            raise error
    assert play(name, ".") == "."


def test_a_busy_refusal_gives_the_trial_it_was_granted_back() -> None:
    name = CircuitFactory.create(expired=True, max_concurrent=1, half_open_max_calls=2).name
    with under_way(name):
        assert play(name, ".") == "r"
        assert len(row(name).leases) == 1


async def test_cancelled_async_calls_give_their_places_back() -> None:
    name = "crowded"
    await Circuit.objects.acreate(name=name, max_concurrent=1)

    inside = asyncio.Event()

    async def hang() -> None:
        async with circuits.guard(name):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await inside.wait()
    with pytest.raises(circuits.CircuitBusyError):
        async with circuits.guard(name):
            pass
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with circuits.guard(name):
        pass


# Which outcomes are failures


def test_a_circuit_has_its_own_failure_statuses(remote: str, settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "FAILURE_STATUSES": [500]}
    strict = CircuitFactory.create(failure_statuses="404, 500-503").name
    with pytest.raises(circuits.RemoteCallFailedException, match="HTTP 404"):
        circuits.call(strict, f"{remote}/nowhere")
    site = CircuitFactory.create().name
    assert circuits.call(site, f"{remote}/nowhere").status_code == 404
    lenient = CircuitFactory.create(failure_statuses="599").name
    assert circuits.call(lenient, f"{remote}/faulty").status_code == 500


def test_a_callable_on_the_response_decides(remote: str) -> None:
    name = CircuitFactory.create().name
    with pytest.raises(circuits.RemoteCallFailedException, match="HTTP 200") as failed:
        circuits.call(
            name, f"{remote}/success", is_failure=lambda answer: answer.json()["status"] == "ok"
        )
    assert failed.value.response.status_code == 200
    assert row(name).failure_count == 1
    answer = circuits.call(name, f"{remote}/faulty", is_failure=lambda answer: False)
    assert answer.status_code == 500


async def test_a_callable_on_the_response_decides_in_async_code_too(remote: str) -> None:
    with pytest.raises(circuits.RemoteCallFailedException, match="HTTP 200"):
        await circuits.acall("decided", f"{remote}/success", is_failure=lambda answer: True)
    answer = await circuits.acall("decided", f"{remote}/faulty", is_failure=lambda answer: False)
    assert answer.status_code == 500


def test_excluded_exceptions_count_as_nothing() -> None:
    name = CircuitFactory.create(threshold=1).name

    class MissingError(LookupError):
        pass

    with pytest.raises(MissingError), circuits.guard(name, exclude=LookupError):
        raise MissingError
    assert row(name).total_failures == 0

    @circuits.protect(name, exclude=MissingError, fallback=lambda error: "fallback")
    def fetch() -> str:
        raise MissingError

    with pytest.raises(MissingError):
        fetch()
    legacy = circuits.CircuitBreaker(fetch, name=name, exclude=MissingError)
    with pytest.raises(MissingError):
        legacy.make_remote_call()
    assert row(name).state == "closed"


# Settings


def test_every_policy_can_be_set_by_name_in_the_settings(settings: Settings) -> None:
    policy = {
        "strategy": "rate",
        "window_seconds": 30,
        "window_calls": 50,
        "failure_rate": 0.3,
        "minimum_calls": 7,
        "slow_call_seconds": 1.5,
        "slow_call_rate": 0.9,
        "max_throttle": 0.7,
        "respect_retry_after": True,
        "ramp_up_seconds": 20,
        "max_concurrent": 3,
        "max_wait_seconds": 0.5,
        "enforce_share": 0.4,
        "retry_share": 0.1,
        "failure_statuses": "500-599, 429",
    }
    settings.CIRCUITS = {**settings.CIRCUITS, "CIRCUITS": {"payments": policy}}
    play("payments", ".")
    circuit = row("payments")
    assert {key: getattr(circuit, key) for key in policy} == policy
