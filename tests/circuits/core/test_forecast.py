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
    LATE,
    MOST_CALLS,
    OFTEN,
    SELDOM,
    Better,
    Forecast,
    Notice,
    Plan,
    Traffic,
    better,
    binomial,
    chance_of,
    forecast,
    hazard_of,
    noticed,
    with_value,
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


@pytest.mark.parametrize(
    ("policy", "share", "calls", "of_start"),
    [
        (rate(window_calls=20, minimum_calls=10, failure_rate=0.4), 0.2, 185.889, 0.144179),
        (rate(window_calls=10, minimum_calls=10, failure_rate=0.5), 0.05, 36463.2, 6.36898e-05),
        (rate(window_calls=4, minimum_calls=2, failure_rate=1), 0.3, 160.173, 0.09),
        (rate(window_calls=30, minimum_calls=20, failure_rate=0.3), 0.5, 20.1464, 0.995473),
        (rate(window_calls=3, minimum_calls=1, failure_rate=0.3), 0.2, 5.0, 0.488),
        (rate(window_calls=1000, minimum_calls=10, failure_rate=0.9), 0.01, inf, 9.91e-18),
        (rate(window_calls=200, minimum_calls=200, failure_rate=0.44), 0.1, 1.82068e35, 0),
        (rate(window_calls=200, minimum_calls=200, failure_rate=0.45), 0.1, inf, 0),
        (rate(window_calls=100, minimum_calls=1, failure_rate=0.01), 0.9, 1.11111, 1.0),
        (rate(window_seconds=30, minimum_calls=10, failure_rate=0.4), 0.25, 153.856, 0.284202),
        (rate(window_seconds=3, minimum_calls=1, failure_rate=0.3), 0.01, 147.857, 0.0199),
        (rate(window_seconds=20, minimum_calls=16, failure_rate=0.2), 0.05, 1061.90, 0.0132360),
        (rate(window_seconds=3000, minimum_calls=100, failure_rate=0.1), 0.08, 1496726.4, 0.454032),
    ],
)
def test_the_formulas_keep_their_digits(
    policy: Policy, share: float, calls: float, of_start: float
) -> None:
    """The simulations above are too coarse to notice a small mistake in a formula."""
    chance = chance_of(policy, Traffic(calls_per_second=1, failure_share=share))
    assert chance.calls == pytest.approx(calls, rel=1e-5)
    assert chance.of_start == pytest.approx(of_start, rel=1e-5, abs=1e-20)


@pytest.mark.parametrize(
    ("failures", "window", "share", "hazard"),
    [
        (2, 2, 0.5, 0.210607),
        (3, 3, 0.2, 0.00654811),
        (2, 8, 0.05, 0.0120792),
        (3, 10, 0.1, 0.0143979),
        (5, 20, 0.2, 0.0410472),
        (12, 12, 0.5, 0.000122257),
        (6, 10, 0.9, 0.794739),
        (40, 60, 0.05, 8.42807e-38),
        (7, 6, 0.5, 0.0),
        (2, 400, 0.99, 1.0),  # no window has fewer
        (300, 400, 1e-9, 0.0),
    ],
)
def test_naus_keeps_his_digits(failures: int, window: int, share: float, hazard: float) -> None:
    assert hazard_of(failures, window, share) == pytest.approx(hazard, rel=1e-5, abs=0)


def test_a_run_that_is_too_long_to_count_never_comes() -> None:
    traffic = Traffic(calls_per_second=1, failure_share=0.1)
    assert chance_of(Policy(threshold=1_000), traffic).calls == inf
    assert chance_of(Policy(threshold=2), traffic).calls == pytest.approx(110)


def test_a_window_of_very_many_calls_is_computed_as_one_of_fewer() -> None:
    policy = rate(window_seconds=3_600, minimum_calls=10, failure_rate=0.3)
    chances = [
        chance_of(policy, Traffic(calls_per_second=calls / 3_600, failure_share=0.29)).calls
        for calls in (1.5 * MOST_CALLS, 2 * MOST_CALLS)
    ]
    assert chances[0] == chances[1] < inf


def test_the_binomial_distribution_is_that_of_independent_calls() -> None:
    assert binomial(3, 0.2) == pytest.approx([0.512, 0.384, 0.096, 0.008])
    assert binomial(0, 0.2) == pytest.approx([1])


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


def test_failures_that_several_see_count_when_they_are_old_enough() -> None:
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


# To the digit ----------------------------------------------------------------------------------


def test_trials_of_a_remote_that_hangs_cost_their_share_of_each_minute() -> None:
    policy = Policy(delay=5, backoff_factor=2, max_delay=40, jitter=0.5)
    found = told(policy, 3, calls_per_second=2)
    # Each cycle is a delay, the time until a call comes, and the time until the trial has failed.
    assert found.lost_per_minute == pytest.approx(60 * 3 / (5 + 0.5 + 3))
    assert found.lost_per_minute_later == pytest.approx(60 * 3 / (40 * 0.75 + 0.5 + 3))
    four = told(replace(policy, half_open_max_calls=4), 3, calls_per_second=2)
    assert four.lost_per_minute == pytest.approx(4 * found.lost_per_minute)
    seven = told(replace(policy, half_open_max_calls=100), 3, calls_per_second=2)
    assert seven.lost_per_minute == pytest.approx(7 * found.lost_per_minute), "no more calls come"
    slow = told(replace(policy, slow_call_seconds=1), 3, calls_per_second=2)
    assert slow.lost_per_minute == pytest.approx(60 * 3 / (5 + 0.5 + 1))
    slower = told(replace(policy, slow_call_seconds=9), 3, calls_per_second=2)
    assert slower.lost_per_minute == found.lost_per_minute


def test_calls_that_hang_cost_their_timeout_until_it_is_known() -> None:
    found = told(Policy(threshold=5), 4, calls_per_second=5)
    # Five calls come in a second, and the fifth has failed four seconds later.
    assert found.hang == Notice(calls=25, seconds=5)
    assert found.outage == Notice(calls=5, seconds=1)
    assert found.lost_before == 25 * 4
    slow = told(Policy(threshold=5, slow_call_seconds=1), 4, calls_per_second=5)
    assert slow.hang == Notice(calls=10, seconds=2)
    assert slow.lost_before == 10 * 4


def test_a_recovery_takes_the_delay_the_trials_and_the_ramp_up() -> None:
    policy = Policy(
        delay=10,
        backoff_factor=2,
        max_delay=40,
        jitter=0.5,
        success_threshold=5,
        half_open_max_calls=2,
        ramp_up_seconds=30,
    )
    found = told(policy, calls_per_second=2, typical_seconds=0.3)
    assert found.recovery == pytest.approx(10 + 5 / 2 + 3 * 0.3 + 30)
    assert found.recovery_later == pytest.approx(40 + 5 / 2 + 3 * 0.3 + 30)
    assert told(policy, calls_per_second=2).recovery == pytest.approx(10 + 5 / 2 + 30)


@pytest.mark.parametrize(
    ("policy", "share", "hangs", "failures"),
    [
        # A window of 57 calls on average, since half of a bucket is missing.
        (rate(window_seconds=60, failure_rate=0.5), 0.0, 0, 57 * 0.5),
        (rate(window_seconds=60, failure_rate=0.5), 0.2, 0, 57 * 0.375),
        (rate(window_seconds=60, failure_rate=0.5), 0.6, 0, 1),
        (rate(window_calls=40, failure_rate=0.5), 0.2, 5, 40 * 0.375),
        (rate(window_seconds=60, failure_rate=0.5), 0.2, 7, 50 * 0.375),
        (rate(window_seconds=60, failure_rate=1), 1.0, 0, 1),
        # The window has nearly run empty, so the minimum of calls decides.
        (rate(window_seconds=60, failure_rate=0.5, minimum_calls=20), 0.2, 47, 20),
        (rate(window_seconds=60, failure_rate=0.5, minimum_calls=20), 0.2, 37, 7.5),
        (rate(window_calls=10, minimum_calls=10, failure_rate=0.01), 0.0, 0, 1),
    ],
)
def test_an_outage_opens_a_window_with_the_failures_that_are_missing(
    policy: Policy, share: float, hangs: float, failures: float
) -> None:
    plan, traffic = (
        Plan(policy=policy, timeout=60),
        Traffic(calls_per_second=1, failure_share=share),
    )
    found = noticed(plan, traffic, known_after=hangs)
    assert found is not None
    assert found.seconds == pytest.approx(failures + hangs)


# Better values ---------------------------------------------------------------------------------


def proposed(policy: Policy, timeout: float = 10.0, **traffic: float) -> list[Better]:
    return list(better(Plan(policy=policy, timeout=timeout), Traffic(**traffic)))


def summed_up(found: list[Better]) -> list[tuple[str, float, str]]:
    return [(each.field, each.value, each.why) for each in found]


@pytest.mark.parametrize(
    ("slow", "timeout", "value"),
    [
        (0.7, 10, 3.0),
        (0.7, 6, 3.0),
        (0.7, 5.9, None),
        (0.2, 10, 0.6),  # three times as long is a hair more
        (0.01, 10, 0.5),
        (0.0, 10, 0.5),
        (4.1, 100, 20.0),
        (None, 10, None),
    ],
)
def test_a_timeout_far_beyond_slow_answers_is_proposed_to_be_shorter(
    slow: float | None, timeout: float, value: float | None
) -> None:
    plan = Plan(policy=Policy(), timeout=timeout)
    traffic = Traffic(calls_per_second=1, slow_seconds=slow)
    found = list(better(plan, traffic))
    if value is None:
        assert found == []
        return
    [proposal] = found
    assert (proposal.field, proposal.why) == ("timeout", "hang")
    assert proposal.value == pytest.approx(value)
    assert proposal.expected == forecast(replace(plan, timeout=proposal.value), traffic)


def test_a_threshold_that_chance_reaches_too_often_is_proposed_to_be_higher() -> None:
    policy = Policy(threshold=2)
    [found] = proposed(policy, calls_per_second=2, failure_share=0.1)
    # Six in a row come every 1.1 million calls, and seven every 11 million.
    assert (found.field, found.value, found.why) == ("threshold", 7, "chance")
    assert found.expected == told(Policy(threshold=7), calls_per_second=2, failure_share=0.1)
    assert proposed(Policy(threshold=7), calls_per_second=2, failure_share=0.1) == []


@pytest.mark.parametrize("policy", [Policy(threshold=2), rate(window_calls=20, failure_rate=0.3)])
def test_no_other_limit_is_proposed_where_none_would_do(policy: Policy) -> None:
    assert proposed(policy, calls_per_second=2, failure_share=0.99) == []


@pytest.mark.parametrize("seconds", [OFTEN, SELDOM])
def test_a_chance_that_is_just_rare_enough_is_rare_enough(seconds: float) -> None:
    """For runs of three; for a longer threshold, chance is rarer."""
    calls = chance_of(Policy(threshold=3), Traffic(calls_per_second=1, failure_share=0.01)).calls
    traffic = {"calls_per_second": calls / seconds, "failure_share": 0.01}
    assert told(Policy(threshold=3), **traffic).chance == seconds
    assert proposed(Policy(threshold=3), **traffic) == []
    if seconds == SELDOM:
        assert summed_up(proposed(Policy(threshold=2), **traffic)) == [("threshold", 3, "chance")]


@pytest.mark.parametrize(
    ("threshold", "calls_per_second", "share", "value"),
    [
        (100, 1, 0.001, 3),
        (4, 0.05, 0.001, 2),  # half as many, and no fewer
        (6, 0.1, 0.001, None),  # noticed within a minute
        (4, 0.05, 0.1, None),  # two in a row would come by chance
        (4, 0.05, 0.0, 2),
    ],
)
def test_a_threshold_that_notices_an_outage_late_is_proposed_to_be_lower(
    threshold: int, calls_per_second: float, share: float, value: float | None
) -> None:
    traffic = {"calls_per_second": calls_per_second, "failure_share": share}
    found = [
        each for each in proposed(Policy(threshold=threshold), **traffic) if each.why != "chance"
    ]
    assert summed_up(found) == ([] if value is None else [("threshold", value, "outage")])
    outage = told(Policy(threshold=threshold), **traffic).outage
    assert outage is not None
    assert (outage.seconds > LATE) == (threshold != 6)


def test_a_failure_rate_that_chance_reaches_too_often_is_proposed_to_be_higher() -> None:
    policy = rate(window_calls=50, minimum_calls=50, failure_rate=0.3)
    traffic = Traffic(calls_per_second=1, failure_share=0.2)
    [found] = better(Plan(policy=policy, timeout=10), traffic)
    assert (found.field, found.why) == ("failure_rate", "chance")
    assert found.expected.chance >= SELDOM
    lower = with_value(Plan(policy=policy, timeout=10), "failure_rate", found.value - 0.05)
    assert lower.policy.failure_rate > 0.3
    assert forecast(lower, traffic).chance < SELDOM
    assert list(better(with_value(lower, "failure_rate", found.value), traffic)) == []


@pytest.mark.parametrize(
    ("calls_per_second", "value"), [(0.01, 2_000.0), (0.009, 3_000.0), (0.0001, None), (1, None)]
)
def test_a_window_of_too_few_calls_is_proposed_to_be_longer(
    calls_per_second: float, value: float | None
) -> None:
    found = proposed(rate(minimum_calls=10), calls_per_second=calls_per_second)
    assert summed_up(found) == ([] if value is None else [("window_seconds", value, "outage")])


def test_what_is_well_is_left_alone() -> None:
    for policy in (Policy(), rate(window_calls=50)):
        assert proposed(policy, calls_per_second=1, failure_share=0.001, slow_seconds=4) == []
