"""The forecast of the throttle strategy, compared with a simulation of the real machine."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from circuits.core import machine, throttle
from circuits.core.forecast import MOST_CALLS, Plan, Traffic
from circuits.core.policy import Policy, Strategy
from circuits.core.status import Failure, Status
from circuits.core.throttle_forecast import NEARLY, STEPS, Throttling, throttling

PLANS: list[tuple[dict[str, Any], Traffic]] = [
    ({}, Traffic(calls_per_second=20)),
    ({"window_seconds": 20, "failure_rate": 0.2}, Traffic(calls_per_second=20, failure_share=0.05)),
    ({"window_calls": 200}, Traffic(calls_per_second=20, failure_share=0.1)),
]


def policy(**values: Any) -> Policy:
    return Policy(strategy=Strategy.THROTTLE, **values)


def told(of: Policy, traffic: Traffic, timeout: float = 10.0) -> Throttling:
    return throttling(Plan(policy=of, timeout=timeout), traffic)


class Site:
    """Calls at random moments through the real machine, each of which is answered at once."""

    def __init__(self, of: Policy, traffic: Traffic) -> None:
        self.policy, self.traffic = of, traffic
        self.random = Random(7)
        self.status = Status()
        self.now = 1_000.0

    @property
    def share(self) -> float:
        return throttle.share_of(self.status.window, self.policy, self.now)

    def call(self, failing: float) -> bool:
        """Make a call; return whether it was refused."""
        self.now += self.random.expovariate(self.traffic.calls_per_second)
        admission = machine.admit(self.status, self.policy, self.now, "A", self.random.random())
        if admission.permit is None:
            return True
        if self.random.random() < failing:
            step = machine.fail(
                self.status, self.policy, admission.permit, self.now, Failure(own_run=0)
            )
        else:
            step = machine.succeed(self.status, self.policy, admission.permit, self.now)
        self.status = step.status
        return False

    def run(self, seconds: float, failing: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.call(failing)

    def until(self, share: float, failing: float) -> float:
        """Return the seconds until at least a share is refused; for a share of 0, until none is."""
        began = self.now
        while (self.share > 0) if not share else (self.share < share):
            self.call(failing)
        return self.now - began


@pytest.mark.parametrize(("values", "traffic"), PLANS)
def test_an_outage_goes_as_the_real_machine_lets_it(
    values: dict[str, Any], traffic: Traffic
) -> None:
    site = Site(policy(**values), traffic)
    site.run(200, traffic.failure_share)
    begins = site.until(1e-9, 1.0)
    most = begins + site.until(NEARLY * site.policy.max_throttle, 1.0)
    recovery = site.until(0, traffic.failure_share)
    outage = told(site.policy, traffic).outage
    assert outage is not None
    assert begins == pytest.approx(outage.begins, rel=0.2, abs=1)
    assert most == pytest.approx(outage.most, rel=0.2)
    assert 0.5 * outage.recovery < recovery < 1.2 * outage.recovery


def test_an_outage_in_a_window_of_calls_goes_call_by_call() -> None:
    """With f failures among 200 calls, the share is (f - 100) / 100.5, and the next call waits."""
    outage = told(policy(window_calls=200), Traffic(calls_per_second=20)).outage
    assert outage is not None

    def gap(failures: int) -> float:
        return 0.05 / (1 - min(0.9, (failures - 100) / 100.5))

    assert outage.begins == pytest.approx(101 * 0.05)
    assert outage.most == pytest.approx(outage.begins + sum(map(gap, range(101, 186))))
    assert outage.recovery == pytest.approx(sum(map(gap, range(101, 201))))


@pytest.mark.parametrize("minimum", [10, 100])
def test_an_outage_in_a_window_of_time_goes_step_by_step(minimum: int) -> None:
    """Of 200 steps, each holds fewer calls the more are refused."""
    of = policy(window_seconds=20, failure_rate=0.2, max_throttle=0.8, minimum_calls=minimum)
    traffic = Traffic(calls_per_second=10, failure_share=0.05)
    outage = told(of, traffic).outage
    assert outage is not None
    step = 20 * 0.95 / STEPS  # half of a bucket is missing
    parts = [(10 * step, 0.5 * step)] * STEPS

    def share() -> float:
        calls, failures = (sum(part[number] for part in parts) for number in range(2))
        return throttle.asked_by(of, calls, failures) if calls > minimum - 1e-9 else 0.0

    def steps_until(wanted: Callable[[], bool], failing: float) -> int:
        steps = 0
        while steps < 20 * STEPS and not wanted():
            calls = 10 * step * (1 - share())
            parts.append((calls, calls * failing))
            del parts[0]
            steps += 1
        return steps

    begins = steps_until(lambda: share() > 0, 1.0)
    more = steps_until(lambda: share() >= 0.95 * 0.8, 1.0)
    assert outage.begins == pytest.approx(begins * step)
    assert outage.most == pytest.approx((begins + more) * step)
    reached = list(parts)
    soon = steps_until(lambda: share() <= 0, 0.05)
    parts[:] = reached
    for _ in range(STEPS):
        steps_until(iter([False, True]).__next__, 1.0)
    late = steps_until(lambda: share() <= 0, 0.05)
    assert outage.recovery == pytest.approx(max(soon, late) * step)


def test_a_window_that_holds_the_minimum_just_notices_an_outage() -> None:
    traffic = Traffic(calls_per_second=0.7)
    exactly = told(policy(window_seconds=200, minimum_calls=133), traffic)
    assert exactly.outage is not None
    assert exactly.outage.begins > 0
    assert told(policy(window_seconds=200, minimum_calls=134), traffic).outage is None


def test_what_is_never_reached_is_not_waited_for_longer_than_twenty_windows() -> None:
    """Ten failures of ten ask for 5 / 5.5, which is less than nearly all of 0.99."""
    small = policy(window_calls=10, max_throttle=0.99)
    outage = told(small, Traffic(calls_per_second=1)).outage
    assert outage is not None
    assert outage.begins == pytest.approx(6)
    gaps = [1 / (1 - (failures - 5) / 5.5) for failures in (6, 7, 8, 9, *[10] * 196)]
    assert outage.most == pytest.approx(6 + sum(gaps))


def test_nearly_all_is_reached_as_soon_as_it_is() -> None:
    """Eight failures of ten ask for 3 / 5.5."""
    share = 3 / 5.5
    exact = policy(window_calls=10, max_throttle=share / NEARLY)
    assert NEARLY * exact.max_throttle == share
    outage = told(exact, Traffic(calls_per_second=1)).outage
    assert outage is not None
    assert outage.most == pytest.approx(6 + 1 / (1 - 1 / 5.5) + 1 / (1 - 2 / 5.5))


def test_chance_refuses_what_each_number_of_failures_asks_for() -> None:
    traffic = Traffic(calls_per_second=1, failure_share=0.5)
    # Three failures of four ask for (3 - 2) / (0.5 * 5), and four for twice as much.
    expected = told(policy(window_calls=4, minimum_calls=4), traffic).by_chance
    assert expected == pytest.approx(4 / 16 * 0.4 + 1 / 16 * 0.8)
    assert told(policy(window_seconds=4, minimum_calls=4), traffic).by_chance == 0.0
    longer = told(policy(window_seconds=5, minimum_calls=4), traffic).by_chance
    assert longer == pytest.approx(expected), "4.75 calls on average are at least 4"


def test_the_chance_in_a_window_of_very_many_calls_is_that_in_one_of_fewer() -> None:
    chances = [
        told(policy(), Traffic(calls_per_second=calls / 57, failure_share=0.5)).by_chance
        for calls in (1.1 * MOST_CALLS, 1.2 * MOST_CALLS)
    ]
    assert chances[0] == chances[1] > 0


@pytest.mark.parametrize("share", [0.3, 0.45, 0.55])
def test_what_is_refused_by_chance_is_what_the_real_machine_refuses(share: float) -> None:
    traffic = Traffic(calls_per_second=20, failure_share=share)
    site = Site(policy(window_seconds=5, failure_rate=0.4), traffic)
    refused = sum(site.call(share) for _ in range(30_000)) / 30_000
    # While calls are refused, there are fewer of them in the window.
    expected = told(site.policy, traffic).by_chance
    assert refused == pytest.approx(expected, rel=0.25, abs=0.003)


def test_a_window_of_too_few_calls_notices_no_outage() -> None:
    few = Traffic(calls_per_second=0.1, failure_share=0.01)
    expected = told(policy(minimum_calls=10), few)
    assert expected.outage is None
    assert expected.by_chance == 0


def test_the_calls_that_pass_wait_for_their_timeout() -> None:
    expected = told(policy(max_throttle=0.8), Traffic(calls_per_second=10), timeout=5)
    assert expected.lost_per_minute == pytest.approx(60 * 2 * 5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_or_nothing_that_fails_is_no_trouble(share: float) -> None:
    expected = told(policy(), Traffic(calls_per_second=20, failure_share=share))
    assert expected.by_chance == (0.9 if share else 0.0)


def test_a_remote_of_which_too_much_fails_as_a_rule_recovers_to_what_is_usual() -> None:
    outage = told(policy(), Traffic(calls_per_second=20, failure_share=0.75)).outage
    assert outage is not None
    assert 0 < outage.recovery < 120
