"""The verdict: one sentence on how a circuit stands, in every place that shows circuits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

import circuits
from circuits.core.status import Mode, State
from circuits.models import WOULD_BE_DOWN_URGENCY, Circuit, Minute
from circuits.moments import to_datetime
from circuits.process import runtime
from circuits.reports import health
from circuits.reports.readings import read_circuits, read_most_urgent
from circuits.reports.verdict import gather, verdict
from circuits.tasks import prune
from tests.calls import fail, refusal, succeed
from tests.clock import DatabaseClock, database_clock
from tests.commands import shell
from tests.concurrency import in_threads
from tests.factories import CircuitFactory
from tests.staff import LIST, page, seen, text

pytestmark = pytest.mark.usefixtures("committed")

#: 15:08 of a day, in seconds since 1970.
OPENED_AT = 1_790_003_280.0


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseClock]:
    with database_clock(monkeypatch) as clock:
        clock.set(OPENED_AT)
        yield clock


def sentence() -> str:
    """Return the verdict on the one circuit that there is."""
    (reading,) = read_circuits()
    return (
        verdict(reading, gather([reading])[reading.circuit.pk])
        .text(reading.now)
        .replace("\xa0", " ")
    )


def refuse(times: int) -> None:
    for _ in range(times):
        refusal("payments")


def trial_fails(database: DatabaseClock) -> None:
    """Let the delay pass and the trial after it fail."""
    (reading,) = read_circuits()
    database.jump((reading.retry_in or 0) + 0.1)
    runtime.forget()  # the process reads the database's time again
    fail("payments")


# What is down ------------------------------------------------------------------------------------


def test_failed_trials_do_not_begin_an_incident_anew(database: DatabaseClock) -> None:
    CircuitFactory.create(name="payments", threshold=1, delay=100)
    fail("payments")
    refuse(3)
    runtime.flush()
    for _ in range(2):
        trial_fails(database)
        refuse(1)
        runtime.flush()
    assert sentence() == "Down since 15:08 (3 minutes), 2 failed trials, 5 refused"


def test_only_the_calls_refused_in_this_incident_are_told(database: DatabaseClock) -> None:
    CircuitFactory.create(name="payments", threshold=1, total_refusals=3_752)
    fail("payments")
    refuse(1)
    runtime.flush()
    assert sentence() == "Down since 15:08 (0 seconds), 1 refused"
    circuits.get("payments").reset()
    assert Circuit.objects.get().down_since is None
    fail("payments")
    assert sentence() == "Down since 15:08 (0 seconds), 0 refused"


def test_who_forces_a_circuit_that_is_down_begins_no_other_incident(
    database: DatabaseClock,
) -> None:
    CircuitFactory.create(name="payments", threshold=1)
    fail("payments")
    database.jump(120)
    circuits.get("payments").force_open()
    assert sentence() == "Down since 15:08 (2 minutes), forced open, 0 refused"


@pytest.mark.usefixtures("db_at_opening")
def test_each_place_tells_the_incident(ann: Client) -> None:
    circuit = Circuit.objects.get()
    told = "7 failed trials, 3,752 refused"
    (entry,) = json.loads(ann.get("/circuits/health/").content)["circuits"]
    assert told in text(seen(ann, page(circuit)))
    assert entry["verdict"].endswith(told)
    assert (entry["failed_trials"], entry["refused"]) == (7, 3_752)
    assert "(15 minutes)" in text(seen(ann, LIST))
    for command in (["list"], ["watch", "--count", "1"]):
        assert "15 min " in shell("circuits", *command).out


@pytest.fixture
def db_at_opening(committed: None, database: DatabaseClock) -> None:
    """Make a circuit that went down a quarter of an hour ago and failed its last trial just now."""
    database.set(timezone.now().timestamp())
    now = timezone.now()
    CircuitFactory.create(
        name="payments",
        opened=True,
        down_since=now - timedelta(minutes=15, milliseconds=500),
        opened_at=now,
        state_changed_at=now,
        reopen_count=7,
        refusals_before=248,
        total_refusals=4_000,
    )


# What is closed, and yet refuses -----------------------------------------------------------------


def test_a_ramp_up_says_what_share_passes(database: DatabaseClock) -> None:
    moment = to_datetime(OPENED_AT - 50)
    CircuitFactory.create(ramp_up_seconds=100, recovered_at=moment, state_changed_at=moment)
    assert re.fullmatch(r"Ramping up: (49|50|51) % of the calls pass", sentence())


def test_a_circuit_at_its_limit_says_how_much_it_refuses(database: DatabaseClock) -> None:
    circuit = CircuitFactory.create(max_concurrent=1)
    Minute.objects.create(circuit=circuit, minute=OPENED_AT // 60 - 5, successes=1, refusals=3)
    assert sentence() == "At its limit: 75 % refused in the last hour"


@pytest.mark.parametrize(
    ("bucket", "policy", "said"),
    [
        ([99, 80, 0], {}, "61 % of the calls are refused, 81 % of 99 calls failed, limit 50 %"),
        ([9, 9, 0], {"minimum_calls": 9}, "90 % of the calls are refused, 100 % of 9 calls failed"),
        ([99, 80, 0], {"enforce_share": 0.5}, "about 30 % of the calls are refused, 81 %"),
        (
            [99, 2, 60],
            {"slow_call_seconds": 2, "slow_call_rate": 0.2},
            "50 % of the calls are refused, 61 % of 99 calls were slow, limit 20 %",
        ),
    ],
)
def test_a_throttled_circuit_says_how_much_it_refuses_and_why(
    database: DatabaseClock, bucket: list[int], policy: dict[str, Any], said: str
) -> None:
    window = {"buckets": [[OPENED_AT - 5, *bucket]], "recent": ""}
    CircuitFactory.create(strategy="throttle", window=window, **policy)
    assert sentence().startswith("Throttled: about ")
    assert said in sentence()


def test_a_throttled_circuit_does_not_say_that_calls_pass(
    ann: Client, database: DatabaseClock
) -> None:
    window = {"buckets": [[OPENED_AT - 5, 99, 80, 0]], "recent": ""}
    circuit = CircuitFactory.create(strategy="throttle", window=window)
    shown = text(seen(ann, page(circuit)))
    assert "Some calls pass; if fewer of them fail, more will." in shown
    assert "Calls pass." not in shown
    moment = to_datetime(OPENED_AT - 1)
    Circuit.objects.update(window=None, ramp_up_seconds=100, recovered_at=moment)
    assert "Some calls pass, and more and more of them until all do." in text(
        seen(ann, page(circuit))
    )


@pytest.mark.parametrize(
    ("strategy", "bucket", "age"),
    [("throttle", [99, 49, 0], 5), ("rate", [99, 80, 0], 5), ("throttle", [99, 80, 0], 61)],
)
def test_a_circuit_that_throttles_nothing_says_so(
    database: DatabaseClock, strategy: str, bucket: list[int], age: float
) -> None:
    window = {"buckets": [[OPENED_AT - age, *bucket]], "recent": ""}
    CircuitFactory.create(strategy=strategy, window=window)
    assert sentence() == "Calls pass"


def test_what_was_refused_before_it_closed_is_no_limit(database: DatabaseClock) -> None:
    closed = to_datetime(OPENED_AT - 120)
    circuit = CircuitFactory.create(max_concurrent=1, state_changed_at=closed)
    Minute.objects.create(circuit=circuit, minute=OPENED_AT // 60 - 5, successes=1, refusals=3)
    assert sentence() == "Calls pass: 3 refused in the last hour"


def test_a_circuit_that_opens_again_and_again_flaps(database: DatabaseClock) -> None:
    CircuitFactory.create(name="payments", threshold=1)
    for _ in range(6):
        fail("payments")
        circuits.get("payments").reset()
    assert sentence() == "Flapping: opened 6 times in an hour"
    database.jump(3_601)
    assert sentence() == "Calls pass"


def test_what_is_only_observed_would_have_refused(ann: Client, database: DatabaseClock) -> None:
    CircuitFactory.create(name="payments", threshold=1, mode=Mode.OBSERVE)
    fail("payments")
    succeed("payments", 2)
    runtime.flush()
    assert sentence() == "Would be down since 15:08 (0 seconds), 2 would have been refused"
    assert health.counted() == {
        "open": 0,
        "half_open": 0,
        "closed": 0,
        "forced": 0,
        "observed": 1,
        "unsteady": 0,
        "total": 1,
    }
    assert "circuits-badge circuits-open" not in seen(ann, LIST)
    assert "◌ would be open" in text(seen(ann, LIST))


def test_what_is_enforced_in_part_says_how_much_of_it_is_real(ann: Client) -> None:
    CircuitFactory.create(name="payments", threshold=1, enforce_share=0.25)
    fail("payments")
    for _ in range(20):
        with suppress(circuits.CircuitOpenError):
            succeed("payments")
    runtime.flush()
    assert sentence().endswith(", 20 refused (25 % of them really)")
    assert "✕ open" in text(seen(ann, LIST))


def test_what_is_enforced_not_at_all_is_only_observed(ann: Client) -> None:
    CircuitFactory.create(name="payments", threshold=1, enforce_share=0)
    fail("payments")
    succeed("payments", 2)
    runtime.flush()
    assert sentence().endswith(", 2 would have been refused")
    assert (health.counted()["open"], health.counted()["observed"]) == (0, 1)
    assert health.report(with_errors=False)["status"] == "ok"
    assert "◌ would be open" in text(seen(ann, LIST))
    assert Circuit.objects.get(name="payments").urgency == WOULD_BE_DOWN_URGENCY


def test_what_refuses_though_it_is_closed_comes_before_what_does_not(ann: Client) -> None:
    CircuitFactory.create(name="a")
    CircuitFactory.create(name="b", mode=Mode.OBSERVE)
    CircuitFactory.create(name="c", mode=Mode.OBSERVE, opened=True)
    CircuitFactory.create(name="d", max_concurrent=1)
    CircuitFactory.create(name="e", opened=True)
    with circuits.guard("d"):
        in_threads(1, lambda _: refusal("d"))  # a call inside a call is none of its own
    runtime.flush()
    assert in_order() == ["e", "d", "c", "a", "b"]
    listed = text(seen(ann, LIST))
    assert "▲ 1 unsteady" in listed
    assert "At its limit: " in listed
    assert text(seen(ann, LIST, urgency__exact="3")).count("✓ closed") == 0


def in_order() -> list[str]:
    return [each.circuit.name for each in read_most_urgent(10)]


def test_an_hour_after_its_last_refusal_a_circuit_is_steady_again(database: DatabaseClock) -> None:
    for name in ("busy", "idle"):
        CircuitFactory.create(name=name, mode=Mode.FORCED_OPEN, state=State.OPEN, opened=True)
        refusal(name)
    runtime.flush()
    for name in ("busy", "idle"):
        circuits.get(name).automatic()
        circuits.get(name).reset()
    assert health.counted()["unsteady"] == 2
    database.jump(3_700)
    runtime.forget()
    succeed("busy")
    runtime.flush()
    assert health.counted()["unsteady"] == 1
    prune()
    assert health.counted()["unsteady"] == 0
