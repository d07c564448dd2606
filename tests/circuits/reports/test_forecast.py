"""A policy and its forecast in plain sentences, based on the minutes that are kept."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from circuits.core.forecast import Plan, Traffic
from circuits.core.policy import Policy
from circuits.models import Circuit, Minute
from circuits.reports.forecast import Basis, basis_of, of_traffic, sentences
from circuits.reports.numbers import approximate_time, exact_time, percent, rounded
from circuits.reports.policies import cautions, in_words
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")

NOW = 29_000_000
DAY = 24 * 60


def kept(circuit: Circuit, ago: int, successes: int, failures: int = 0, refusals: int = 0) -> None:
    calls = {"successes": successes, "failures": failures, "refusals": refusals}
    Minute.objects.create(circuit=circuit, minute=NOW - ago, **calls)


def basis(circuit: Circuit) -> Basis | None:
    return basis_of(circuit, NOW * 60.0)


def plan(timeout: float = 10, **policy: Any) -> Plan:
    return Plan(policy=Policy(**policy), timeout=timeout)


def told(plan: Plan, *, rate: float, share: float = 0.0, days: int = 1, **traffic: Any) -> str:
    calls = 100_000
    through = Traffic(calls_per_second=rate, failure_share=share or 3 / calls, **traffic)
    found = Basis(days=days, calls=calls, failures=round(calls * share), traffic=through)
    return "\n".join([of_traffic(found), *sentences(plan, found)]).replace("\xa0", " ")


# The traffic that it is based on


def test_a_day_with_calls_enough_is_what_it_goes_by() -> None:
    circuit = CircuitFactory.create()
    kept(circuit, ago=DAY, successes=7_000)  # just too long ago
    kept(circuit, ago=99, successes=1_900, failures=50)
    kept(circuit, ago=0, successes=50)
    kept(CircuitFactory.create(), ago=1, successes=5_000)
    found = basis(circuit)
    assert found is not None
    assert (found.days, found.calls, found.failures) == (1, 2_000, 50)
    assert found.traffic.calls_per_second == pytest.approx(2_000 / 6_000)
    assert found.traffic.failure_share == pytest.approx(0.025)


def test_a_day_with_few_calls_is_told_by_its_week() -> None:
    circuit = CircuitFactory.create()
    kept(circuit, ago=0, successes=999)
    kept(circuit, ago=3 * DAY - 1, successes=1_000, failures=1)
    found = basis(circuit)
    assert found is not None
    assert (found.days, found.calls, found.failures) == (7, 2_000, 1)


def test_minutes_of_an_outage_say_nothing_of_a_usual_day() -> None:
    circuit = CircuitFactory.create()
    kept(circuit, ago=5, successes=900, failures=9)
    kept(circuit, ago=4, successes=0, failures=500, refusals=1)
    found = basis(circuit)
    assert found is not None
    assert (found.calls, found.failures) == (909, 9)


def test_where_no_call_failed_the_share_is_what_would_be_no_surprise() -> None:
    circuit = CircuitFactory.create()
    kept(circuit, ago=1, successes=3_000)
    found = basis(circuit)
    assert found is not None
    assert (found.failures, found.traffic.failure_share) == (0, 0.001)


def test_timed_calls_tell_how_long_answers_take() -> None:
    circuit = CircuitFactory.create()
    kept(circuit, ago=3, successes=90)
    found = basis(circuit)
    assert found is not None
    assert found.traffic.slow_seconds is None
    Minute.objects.update(took_200ms=85, took_1s=5)
    found = basis(circuit)
    assert found is not None
    assert found.timed == 90
    assert found.traffic.typical_seconds == pytest.approx(0.1 + 0.1 * 45 / 85)
    assert found.traffic.slow_seconds == pytest.approx(0.5 + 0.5 * 0.1)
    said = "\n".join([of_traffic(found), *sentences(plan(timeout=10), found)])
    assert "Half of the answers came within 153" in said
    assert "a timeout of 2 s in place of 10 s would free" in said.replace("\xa0", " ")


def test_too_few_timed_calls_tell_nothing() -> None:
    circuit = CircuitFactory.create()
    kept(circuit, ago=3, successes=90)
    Minute.objects.update(took_200ms=39)
    found = basis(circuit)
    assert found is not None
    assert (found.traffic.typical_seconds, found.traffic.slow_seconds) == (None, None)
    assert "Half of the answers" not in of_traffic(found)


def test_without_calls_there_is_nothing_to_go_by() -> None:
    circuit = CircuitFactory.create()
    assert basis(circuit) is None
    kept(circuit, ago=1, successes=0, refusals=50)
    assert basis(circuit) is None


# In words


@pytest.mark.parametrize(
    ("policy", "traffic", "said"),
    [
        ({}, {"rate": 2, "share": 0.01}, "100,000 calls were made while none was refused: 2 a sec"),
        ({}, {"rate": 2, "share": 0.01}, "of which 1 % failed."),
        ({}, {"rate": 2, "days": 7}, "In the last 7 days 100,000 calls"),
        ({}, {"rate": 2}, "opens after about 5 calls, which takes 2.5 seconds."),
        ({"threshold": 1}, {"rate": 0.01}, "opens after about 1 call, which takes 1 minute."),
        (
            {"timeout": 10},
            {"rate": 2},
            "until their timeout of 10 s, it opens after about 12 seconds; by then 25 calls have "
            "begun, which keep workers waiting for 250 worker-seconds in all.",
        ),
        ({}, {"rate": 2}, "From then on, trials cost 29 worker-seconds of each minute."),
        (
            {"backoff_factor": 2},
            {"rate": 2},
            "29 worker-seconds of each minute, and 1.9 once the delay has grown.",
        ),
        (
            {"threshold": 2},
            {"rate": 1, "share": 0.01},
            "it opens about once in 2 hours, 48 minutes, if single calls go on failing as now "
            "(1 %).",
        ),
        ({"threshold": 9}, {"rate": 1, "share": 0.01}, "less than once in a hundred years."),
        (
            {"threshold": 2},
            {"rate": 1},
            "No call has failed. Even if 0.003 % did, it would open by chance only once in",
        ),
        ({}, {"rate": 10}, "is well again, all calls pass after 10 seconds at most."),
        (
            {"backoff_factor": 2, "max_delay": 120},
            {"rate": 10},
            "all calls pass after 10 seconds at most, and after a long outage after 2 minutes.",
        ),
        (
            {"strategy": "rate"},
            {"rate": 0.1},
            "An outage would not be noticed: the window holds about 5.7 calls, and 10 are needed.",
        ),
        (
            {"strategy": "rate", "failure_rate": 0.3},
            {"rate": 2, "share": 0.05},
            "as after each recovery, it opens by chance in 1.2 % of the cases.",
        ),
        # What would be better
        (
            {"timeout": 10},
            {"rate": 2, "slow_seconds": 0.6},
            "Better: a timeout of 2 s in place of 10 s would free 232 worker-seconds of each",
        ),
        (
            {"threshold": 2},
            {"rate": 1, "share": 0.01},
            "Better: a threshold of 4 in place of 2 would open it by chance only once in 3 years,",
        ),
        (
            {"threshold": 50},
            {"rate": 0.1, "share": 0.001},
            "Better: a threshold of 2 in place of 50 would notice an outage after 20 seconds.",
        ),
        (
            {"strategy": "rate", "failure_rate": 0.1},
            {"rate": 2, "share": 0.05},
            "Better: a failure rate of 20 % in place of 10 % would open it by chance only once",
        ),
        (
            {"strategy": "rate"},
            {"rate": 0.1},
            "Better: a window of 200 s in place of 60 s would notice an outage after 1 minute.",
        ),
    ],
)
def test_what_is_to_be_expected(policy: dict[str, Any], traffic: dict[str, Any], said: str) -> None:
    assert said in told(plan(**policy), **traffic)


@pytest.mark.parametrize(
    ("policy", "traffic"),
    [
        ({}, {"rate": 2}),
        ({"threshold": 5}, {"rate": 2, "share": 0.001, "slow_seconds": 2.0}),
        ({"strategy": "rate"}, {"rate": 2, "share": 0.01}),
    ],
)
def test_what_is_well_is_left_as_it_is(policy: dict[str, Any], traffic: dict[str, Any]) -> None:
    assert "Better" not in told(plan(**policy), **traffic)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (
            {},
            "It opens after 5 failures in a row. Then it refuses calls for 10 s before it tries "
            "again. It closes after 1 successful trial.",
        ),
        ({"threshold": 1}, "It opens after 1 failure. "),
        (
            {"slow_call_seconds": 2.5},
            "5 failures in a row (a call of 2.5 s or more counts as one).",
        ),
        (
            {"strategy": "rate", "failure_rate": 0.3, "window_seconds": 300},
            "It opens when 30 % of the calls of the last 5 min have failed, if there were 10 or "
            "more. ",
        ),
        (
            {"strategy": "rate", "window_calls": 50, "slow_call_seconds": 2, "slow_call_rate": 0.8},
            "when 50 % of the last 50 calls have failed, or 80 % have taken 2 s or more. ",
        ),
        (
            {"strategy": "throttle", "max_throttle": 0.8},
            "It stays closed and refuses some calls while more than 50 % of the calls of the last "
            "60 s have failed, if there were 10 or more: more of them the more fail, up to 80 %.",
        ),
        (
            {"strategy": "throttle", "window_calls": 50, "slow_call_seconds": 2},
            "while more than 50 % of the last 50 calls have failed, or 100 % have taken 2 s or "
            "more: more of them the more fail, up to 90 %.",
        ),
        (
            {"backoff_factor": 1.5, "max_delay": 3600},
            "for 10 s before it tries again, 1.5 times as long after each failed trial, up to 1 h.",
        ),
        (
            {"success_threshold": 3, "ramp_up_seconds": 30},
            "It closes after 3 successful trials, and lets all calls pass again over 30 s.",
        ),
        ({"max_concurrent": 8}, "Each process has at most 8 calls under way at once."),
        (
            {"max_concurrent": 8, "max_wait_seconds": 2},
            "at most 8 calls under way at once; one more waits up to 2 s for a place.",
        ),
        (
            {"enforce_share": 0.25},
            "Only 25 % of the refusals are real: the other calls pass, and are only counted as "
            "refused.",
        ),
        (
            {"enforce_share": 0},
            "No refusal is real: the calls pass, and are only counted as refused.",
        ),
        (
            {"retry_share": 0.05, "window_seconds": 30},
            "Retries may be 5 % of the calls of the last 30 s, and 10 more.",
        ),
    ],
)
def test_a_policy_in_a_sentence(policy: dict[str, Any], said: str) -> None:
    assert said in in_words(plan(**policy))


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({}, ""),
        ({"lease_seconds": 10}, ""),
        ({"lease_seconds": 9}, "The trial lease (9 s) is shorter than the timeout (10 s)"),
        ({"delay": 600}, ""),
        (
            {"delay": 600, "backoff_factor": 2},
            "The delay (10 min) is above the longest delay (5 mi",
        ),
        ({"delay": 600, "respect_retry_after": True}, "The delay (10 min) is above the longest"),
        ({"slow_call_seconds": 9}, ""),
        ({"slow_call_seconds": 10}, "“Slow from” (10 s) is not below the timeout (10 s)"),
        ({"strategy": "rate", "window_seconds": 15}, ""),
        (
            {"strategy": "rate", "window_seconds": 14},
            "The window in seconds (14 s) is shorter than three times FLUSH_SECONDS (5 s)",
        ),
        ({"window_seconds": 1, "window_calls": 3}, ""),
        ({"strategy": "throttle", "window_seconds": 14}, "The window in seconds (14 s) is shorter"),
        ({"strategy": "throttle", "failure_rate": 1}, "With a failure rate of 100 % it refuses no"),
        (
            {"strategy": "rate", "window_seconds": 1, "window_calls": 9},
            "The window in calls (9) is smaller than the minimum of calls (10)",
        ),
    ],
)
def test_two_values_that_do_not_go_together_are_both_named(
    settings: Settings, policy: dict[str, Any], said: str
) -> None:
    settings.CIRCUITS = {"DATABASE": "circuits", "FLUSH_SECONDS": 5}
    found = list(cautions(plan(**policy)))
    assert len(found) == bool(said)
    assert said in " ".join(found)


# Numbers


@pytest.mark.parametrize(
    ("number", "written"),
    [(0, "0"), (0.00004217, "0.000042"), (1, "1"), (7.51, "7.5"), (10.4, "10"), (1234, "1,234")],
)
def test_an_estimate_has_two_digits(number: float, written: str) -> None:
    assert rounded(number) == written


# Throttling


def test_an_outage_is_told_from_its_first_refusal_to_its_end() -> None:
    said = told(plan(strategy="throttle"), rate=20, share=0.01).splitlines()
    assert said[1:] == [
        "If the remote goes down and each call fails at once, it begins to refuse calls after 28 "
        "seconds, and refuses about 90 % of them after 54 seconds.",
        "If the calls that pass hang until their timeout of 10 s, they cost 1,200 worker-seconds "
        "of each minute then.",
        "Once the remote is well again, all calls pass after 37 seconds at most.",
        "While single calls go on failing as now (1 %), it refuses none.",
    ]


def test_what_is_throttled_by_chance_is_told() -> None:
    said = told(plan(strategy="throttle", failure_rate=0.2), rate=1, share=0.15)
    assert said.endswith("go on failing as now (15 %), it refuses 0.5 % of the calls.")


def test_a_throttle_that_notices_nothing_says_so() -> None:
    said = told(plan(strategy="throttle"), rate=0.1, share=0.01).splitlines()
    assert said[1:] == [
        "An outage would not be noticed: the window holds about 5.7 calls, and 10 are needed.",
        "While single calls go on failing as now (1 %), it refuses none.",
    ]


def test_shares_and_times_as_people_say_them() -> None:
    assert (percent(0.5), percent(0.0042), percent(1)) == ("50 %", "0.42 %", "100 %")
    assert (approximate_time(0.42), approximate_time(3.04), approximate_time(61)) == (
        "0.42 seconds",
        "3 seconds",
        "1\xa0minute",
    )
    assert approximate_time(float("inf")) == approximate_time(1e12) == "more than a hundred years"
    assert [exact_time(each) for each in (0.25, 90, 119, 120, 3600, 5400)] == [
        "0.25 s",
        "90 s",
        "119 s",
        "2 min",
        "1 h",
        "90 min",
    ]
