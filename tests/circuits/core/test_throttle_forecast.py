"""The forecast of the throttle strategy, compared with a simulation of the real machine."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from circuits.core import machine, throttle
from circuits.core.forecast import Plan, Traffic
from circuits.core.policy import Policy, Strategy
from circuits.core.status import Failure, Status
from circuits.core.throttle_forecast import NEARLY, Throttling, throttling

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
