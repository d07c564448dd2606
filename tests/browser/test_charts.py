"""The charts of a circuit's page in a browser: a day with an hour of flapping."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Final

import pytest
from django.urls import reverse
from django.utils import timezone

from circuits.core.status import Mode, Reason, State
from circuits.models import Circuit, Minute, Transition
from tests.browser.browser import DESKTOP, PHONE, Browser, Device, Theme
from tests.factories import CircuitFactory

#: The states of a circuit that opens and recovers, and the reason of each change.
ROUND: Final = (State.CLOSED, State.OPEN, State.HALF_OPEN, State.CLOSED)
REASONS: Final = (Reason.FAILURE_RATE, Reason.DELAY_PASSED, Reason.TRIAL_SUCCEEDED)


@pytest.fixture
def flapping() -> Circuit:
    """A circuit by failure rate that opened 60 times in an hour, with few calls in most minutes."""
    now = timezone.now()
    circuit = CircuitFactory.create(
        name="payments", strategy="rate", failure_rate=0.25, generation=180
    )
    Circuit.objects.update(created_at=now - timedelta(days=2))
    Transition.objects.bulk_create(_rounds(circuit, 60))
    minute = int(now.timestamp() // 60)
    Minute.objects.create(circuit=circuit, minute=minute - 600, successes=35, failures=26)
    Minute.objects.create(circuit=circuit, minute=minute - 300, successes=20_000)
    return circuit


def _rounds(circuit: Circuit, number: int) -> Iterator[Transition]:
    since = timezone.now() - timedelta(hours=6)
    for index in range(number):
        for step, (one, other) in enumerate(pairwise(ROUND)):
            yield Transition(
                circuit=circuit,
                generation=3 * index + step + 1,
                at=since + timedelta(minutes=index, seconds=10 * step),
                from_state=one,
                to_state=other,
                from_mode=Mode.AUTOMATIC,
                to_mode=Mode.AUTOMATIC,
                reason=REASONS[step],
            )


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=str)
@pytest.mark.parametrize("theme", Theme)
def test_flapping_is_a_comb_with_its_count(
    browser: Browser, flapping: Circuit, theme: Theme, device: Device
) -> None:
    browser.become(theme, device)
    browser.visit(reverse("admin:circuits_circuit_change", args=[flapping.pk]))
    teeth = browser.one(".circuits-charts .circuits-teeth")
    dashes = teeth.value_of_css_property("stroke-dasharray")
    assert dashes == "3px, 3px"
    assert teeth.rect["width"] >= 12, "there is room for two teeth"
    assert browser.one(".circuits-times").text == "60\xd7"
    assert "flapping: opened 60 times" in browser.one(".circuits-charts").text
    assert browser.content_width <= device.width
    assert browser.errors() == []
    assert browser.violations() == []


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=str)
@pytest.mark.parametrize("theme", Theme)
def test_throttling_is_a_sentence_and_a_chart(
    browser: Browser, theme: Theme, device: Device
) -> None:
    now = timezone.now().timestamp()
    # Buckets begin at multiples of their length; the one before the present one is surely past.
    length = 6
    window = {"buckets": [[now // length * length - length, 230, 180, 0]], "recent": ""}
    circuit = CircuitFactory.create(name="maps", strategy="throttle", window=window)
    minute = int(now // 60)
    for ago in range(40):
        calls = {"successes": 50, "failures": 180, "refusals": 9 * ago}
        Minute.objects.create(circuit=circuit, minute=minute - ago, **calls)
    browser.become(theme, device)
    browser.visit(reverse("admin:circuits_circuit_change", args=[circuit.pk]))
    said = browser.one(".circuits-status").text
    assert "Throttled: about 56 % of the calls are refused, 78 % of 230 calls failed" in said
    charts = browser.one(".circuits-charts").text
    assert "throttles above 50 % failures" in charts
    assert "share of calls refused" in charts
    assert browser.content_width <= device.width
    assert browser.errors() == []
    assert browser.violations() == []


#: The title that is shown when the pointer is on the middle of an element.
POINTED: Final = """
arguments[0].scrollIntoView({block: "center"});
const {left, top, width, height} = arguments[0].getBoundingClientRect();
const pointed = document.elementFromPoint(left + width / 2, top + height / 2);
return pointed.querySelector("title").textContent;
"""


def test_who_points_between_two_teeth_is_told_of_the_comb(
    browser: Browser, flapping: Circuit
) -> None:
    browser.visit(reverse("admin:circuits_circuit_change", args=[flapping.pk]))
    comb = browser.one(".circuits-was-flapping")
    assert "opened 60 times" in browser.chrome.execute_script(POINTED, comb)


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=str)
def test_the_share_of_failures_is_seen_beside_a_busy_time(
    browser: Browser, flapping: Circuit, device: Device
) -> None:
    browser.become(Theme.LIGHT, device)
    browser.visit(reverse("admin:circuits_circuit_change", args=[flapping.pk]))
    share = browser.one(".circuits-share")
    limit = browser.one("line.circuits-limit")
    assert share.rect["height"] == 14, "43 % of 32 pixels"
    assert limit.value_of_css_property("stroke-dasharray") == "6px, 3px"
    assert share.rect["y"] < limit.rect["y"] < share.rect["y"] + 14, "it is above the limit"
    words = browser.one(".circuits-charts").text
    assert "share of failures" in words
    assert "opens at 25 % failures" in words
