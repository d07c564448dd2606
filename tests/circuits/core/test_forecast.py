"""The forecast of a policy, compared with a simulation of the real machine.

The simulations have fixed seeds, so that they have the same result each time. The errors allowed
are those that :mod:`circuits.core.forecast` states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import Any

import pytest

from circuits.core import machine
from circuits.core.forecast import (
    Forecast,
    Plan,
    Traffic,
    chance_of,
    forecast,
    hazard_of,
    noticed,
)
from circuits.core.policy import Policy, Strategy
from circuits.core.status import Failure, Permit, State, Status


def rate(**policy: Any) -> Policy:
    return Policy(strategy=Strategy.RATE, **policy)


def told(policy: Policy, timeout: float = 10.0, **traffic: float) -> Forecast:
    return forecast(Plan(policy=policy, timeout=timeout), Traffic(**traffic))


# The simulation --------------------------------------------------------------------------------


class Simulation:
    """Calls at random moments through the real machine, on one clock.

    Args:
        traffic: How many calls come, and which share of them fails.
    """

    def __init__(self, policy: Policy, traffic: Traffic, seed: int = 1) -> None:
        self.policy, self.traffic, self.random = policy, traffic, Random(seed)
        self.status = Status()
        self.now = 1000.0
        self.made = 0
        self.waited = 0.0
        self._under_way: list[tuple[float, int, Permit, bool]] = []

    def run(
        self,
        until: Callable[[Simulation], bool],
        fails: Callable[[], bool] | None = None,
        seconds: float = 0.0,
    ) -> Simulation:
        """Let calls come until a condition holds."""
        fails = fails or (lambda: self.random.random() < self.traffic.failure_share)
        arrival = self.now + self._gap()
        while not until(self):
            if self._under_way and self._under_way[0][0] <= arrival:
                self.now, _, permit, failed = heappop(self._under_way)
                self._settle(permit, failed)
                continue
            self.now, arrival = arrival, arrival + self._gap()
            self._call(fails(), seconds)
        return self

    def _gap(self) -> float:
        return self.random.expovariate(self.traffic.calls_per_second)

    def _call(self, fails: bool, seconds: float) -> None:
        token = str(self.made)
        admission = machine.admit(self.status, self.policy, self.now, token, self.random.random())
        self.status = admission.status
        if admission.permit is None:
            return
        self.made += 1
        self.waited += seconds
        if seconds:
            heappush(self._under_way, (self.now + seconds, self.made, admission.permit, fails))
        else:
            self._settle(admission.permit, fails)

    def _settle(self, permit: Permit, failed: bool) -> None:
        if not failed:
            self.status = machine.succeed(self.status, self.policy, permit, self.now).status
            return
        failure = Failure(own_run=0, chance=self.random.random())
        self.status = machine.fail(self.status, self.policy, permit, self.now, failure).status


def is_open(simulation: Simulation) -> bool:
    return simulation.status.state is State.OPEN


def means(
    policy: Policy,
    traffic: Traffic,
    number: int,
    measure: Callable[[Simulation], float],
) -> float:
    runs = (Simulation(policy, traffic, seed) for seed in range(number))
    return sum(map(measure, runs)) / number


# Chance ----------------------------------------------------------------------------------------


def calls_until_open(simulation: Simulation) -> float:
    return simulation.run(is_open).made


@pytest.mark.parametrize(("threshold", "share"), [(1, 0.02), (2, 0.1), (3, 0.3), (5, 0.5)])
def test_a_run_comes_by_chance_as_often_as_feller_says(threshold: int, share: float) -> None:
    policy, traffic = Policy(threshold=threshold), Traffic(calls_per_second=1, failure_share=share)
    simulated = means(policy, traffic, 1_000, calls_until_open)
    assert chance_of(policy, traffic).calls == pytest.approx(simulated, rel=0.08)


@pytest.mark.parametrize(
    ("policy", "share", "error"),
    [
        (rate(window_calls=20, minimum_calls=10, failure_rate=0.4), 0.2, 1.2),
        (rate(window_calls=50, minimum_calls=50, failure_rate=0.3), 0.2, 1.2),
        (rate(window_calls=10, minimum_calls=10, failure_rate=0.5), 0.2, 1.2),
        (rate(window_seconds=30, minimum_calls=10, failure_rate=0.4), 0.25, 1.5),
        (rate(window_seconds=60, minimum_calls=40, failure_rate=0.4), 0.28, 1.5),
        (rate(window_seconds=15, minimum_calls=10, failure_rate=0.5), 0.25, 1.5),
    ],
)
def test_a_window_opens_by_chance_about_as_often_as_the_binomial_tail_says(
    policy: Policy, share: float, error: float
) -> None:
    traffic = Traffic(calls_per_second=1, failure_share=share)
    simulated = means(policy, traffic, 150, calls_until_open)
    assert simulated / error < chance_of(policy, traffic).calls < simulated * error


@pytest.mark.parametrize(
    ("failures", "window", "share", "exact"),
    # By following all 2 ** window states of a full window.
    [
        (1, 5, 0.1, 0.1),
        (2, 8, 0.05, 0.0120759),
        (3, 10, 0.1, 0.0143841),
        (5, 10, 0.2, 0.0089895),
        (10, 12, 0.5, 0.0058481),
    ],
)
def test_a_full_window_comes_to_hold_too_many_as_often_as_all_its_states_say(
    failures: int, window: int, share: float, exact: float
) -> None:
    assert hazard_of(failures, window, share) == pytest.approx(exact, rel=0.005)


def test_a_rare_chance_keeps_its_digits() -> None:
    """The chance is a difference of numbers near 1, which must not become 0."""
    assert hazard_of(40, 60, 0.05) == pytest.approx(hazard_of(40, 60, 0.05 * 1.001), rel=0.05)
    assert 0 < hazard_of(40, 60, 0.05) < 1e-30


def test_the_chance_while_a_window_fills_is_told_apart() -> None:
    policy = rate(window_calls=100, minimum_calls=5, failure_rate=0.5)
    chance = chance_of(policy, Traffic(calls_per_second=1, failure_share=0.1))
    # Three of the first five, and a little for those after them.
    first_five = 1 - 0.9**5 - 5 * 0.1 * 0.9**4 - 10 * 0.1**2 * 0.9**3
    assert first_five < chance.of_start < 2.5 * first_five


@pytest.mark.parametrize("policy", [Policy(), rate(), rate(window_calls=50)])
def test_without_failures_nothing_opens_by_chance(policy: Policy) -> None:
    assert chance_of(policy, Traffic(calls_per_second=1)).calls == inf


@pytest.mark.parametrize("policy", [Policy(), rate(), rate(window_calls=50)])
def test_what_always_fails_opens_as_soon_as_it_may(policy: Policy) -> None:
    soonest = policy.threshold if policy.strategy == Strategy.CONSECUTIVE else policy.minimum_calls
    assert chance_of(policy, Traffic(calls_per_second=1, failure_share=1)).calls == soonest


# An outage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy",
    [
        Policy(threshold=5),
        Policy(threshold=20),
        rate(window_seconds=60, minimum_calls=20, failure_rate=0.5),
        rate(window_seconds=20, minimum_calls=20, failure_rate=0.3),
        rate(window_calls=50, minimum_calls=20, failure_rate=0.4),
    ],
)
def test_an_outage_is_noticed_after_so_many_seconds(policy: Policy) -> None:
    traffic = Traffic(calls_per_second=5, failure_share=0.05)

    def seconds(simulation: Simulation) -> float:
        for_long = simulation.now + 100
        simulation.run(lambda it: it.now >= for_long, fails=lambda: False)
        down_at = simulation.now
        return simulation.run(is_open, fails=lambda: True).now - down_at

    notice = noticed(Plan(policy=policy, timeout=10), replace(traffic, failure_share=0))
    assert notice is not None
    assert notice.seconds == pytest.approx(means(policy, traffic, 60, seconds), rel=0.1)
    assert notice.calls == pytest.approx(5 * notice.seconds)


def test_failures_of_several_processes_count_when_they_are_old_enough() -> None:
    plan = Plan(policy=Policy(threshold=5), timeout=10, settle_seconds=0.2)
    notice = noticed(plan, Traffic(calls_per_second=1_000))
    assert notice is not None
    assert (notice.calls, notice.seconds) == (200, 0.2)


@pytest.mark.parametrize("calls_per_second", [0.01, 0.17])
def test_a_window_that_never_holds_the_minimum_notices_nothing(calls_per_second: float) -> None:
    found = told(rate(), calls_per_second=calls_per_second, failure_share=0.1)
    assert (found.outage, found.hang, found.lost_before, found.chance) == (None, None, inf, inf)


@pytest.mark.parametrize(
    ("policy", "timeout"),
    [
        (Policy(threshold=5), 4),
        (Policy(threshold=5, slow_call_seconds=1), 4),
        (rate(window_seconds=60, minimum_calls=20, failure_rate=0.5), 4),
    ],
)
def test_calls_that_hang_cost_so_many_seconds_before_it_opens(
    policy: Policy, timeout: float
) -> None:
    traffic = Traffic(calls_per_second=5)
    known_after = policy.slow_call_seconds or timeout

    def made(simulation: Simulation) -> float:
        for_long = simulation.now + 100
        simulation.run(lambda it: it.now >= for_long, fails=lambda: False)
        before = simulation.made
        return simulation.run(is_open, fails=lambda: True, seconds=known_after).made - before

    found = told(policy, timeout, calls_per_second=5)
    simulated = means(policy, traffic, 60, made)
    assert found.hang is not None
    assert found.hang.calls == pytest.approx(simulated, rel=0.1)
    assert found.lost_before == pytest.approx(simulated * timeout, rel=0.1)


@pytest.mark.parametrize(
    "policy",
    [
        Policy(delay=10),
        Policy(delay=5, half_open_max_calls=4),
        Policy(delay=5, backoff_factor=2, max_delay=40, jitter=0.5),
    ],
)
def test_trials_that_hang_cost_so_many_seconds_of_each_minute(policy: Policy) -> None:
    traffic, timeout, minutes = Traffic(calls_per_second=2), 3.0, 600
    simulation = Simulation(policy, traffic).run(is_open, fails=lambda: True, seconds=timeout)
    later = simulation.now + 600
    simulation.run(lambda it: it.now >= later, fails=lambda: True, seconds=timeout)
    before, end = simulation.waited, simulation.now + 60 * minutes
    simulation.run(lambda it: it.now >= end, fails=lambda: True, seconds=timeout)
    found = told(policy, timeout, calls_per_second=2)
    simulated = (simulation.waited - before) / minutes
    assert found.lost_per_minute_later == pytest.approx(simulated, rel=0.05)
    if policy.backoff_factor == 1:
        assert found.lost_per_minute == found.lost_per_minute_later
    else:
        assert found.lost_per_minute > 2 * found.lost_per_minute_later


# Recovery --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy",
    [
        Policy(delay=10),
        Policy(delay=10, success_threshold=5),
        Policy(delay=10, success_threshold=5, half_open_max_calls=5),
        Policy(delay=10, ramp_up_seconds=30),
    ],
)
def test_all_calls_pass_again_after_so_long(policy: Policy) -> None:
    traffic = Traffic(calls_per_second=2, typical_seconds=0.5)

    def seconds(simulation: Simulation) -> float:
        simulation.run(is_open, fails=lambda: True)
        since = simulation.now

        def is_whole(it: Simulation) -> bool:
            is_closed = it.status.state is State.CLOSED
            return is_closed and not machine.ramp_remaining(it.status, policy, it.now)

        return simulation.run(is_whole, fails=lambda: False, seconds=0.5).now - since

    found = forecast(Plan(policy=policy, timeout=10), traffic)
    assert found.recovery == pytest.approx(means(policy, traffic, 100, seconds), rel=0.05)
    assert found.recovery_later == found.recovery


def test_after_a_long_outage_the_grown_delay_comes_first() -> None:
    policy = Policy(delay=10, backoff_factor=2, max_delay=120, jitter=1)
    found = told(policy, calls_per_second=10)
    assert found.recovery == pytest.approx(10.1)
    assert found.recovery_later == pytest.approx(120.1)
