"""The operations that a circuit's page offers, and the one that it suggests."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from circuits.core.status import Mode, State
from circuits.models import Circuit
from tests.factories import CircuitFactory, TransitionFactory
from tests.staff import LIST, operate, operate_many, page, seen, signed_in, text

pytestmark = pytest.mark.usefixtures("committed")

PROBE = "http://h.example/"


def offered(html: str) -> dict[str, bool]:
    """Return the operations that a page offers, and whether each is suggested."""
    found = re.findall(r'<a class="(button[^"]*)" href="[^"]*/operate/(\w+)/"', html)
    return {key: "default" in classes for classes, key in found}


def advice(html: str) -> str:
    found = re.search(r'<p class="circuits-advice">(.*?)</p>', html, re.DOTALL)
    return text(found[1]) if found else ""


def in_minutes(minutes: float) -> Any:
    return timezone.now() + timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("values", "suggested", "words"),
    [
        ({}, "", ""),
        ({"opened": True, "retry_at": None}, "try_now", "try now"),
        ({"opened": True, "retry_at": 0.3}, "", "Nothing has to be pressed"),
        ({"opened": True, "retry_at": -1, "probe_url": PROBE}, "probe", "probe it"),
        ({"opened": True, "retry_at": -1}, "", "Nothing has to be pressed"),
        ({"state": State.HALF_OPEN}, "", "the trial calls decide"),
        ({"opened": True, "mode": Mode.FORCED_OPEN}, "automatic", "the reason for this is over"),
        ({"mode": Mode.FORCED_CLOSED}, "automatic", "Nothing protects the callers"),
        ({"mode": Mode.OBSERVE}, "", "once you trust its policy"),
    ],
)
def test_the_page_suggests_what_to_press(
    ann: Client, values: dict[str, Any], suggested: str, words: str
) -> None:
    if "retry_at" in values:
        values = {**values, "retry_at": in_minutes(values["retry_at"] or 10)}
    html = seen(ann, page(CircuitFactory.create(**values)))
    assert words in advice(html)
    assert [key for key, is_suggested in offered(html).items() if is_suggested] == (
        [suggested] if suggested else []
    )


def test_one_that_flaps_may_need_rest(ann: Client) -> None:
    circuit = CircuitFactory.create(state_changed_at=timezone.now())
    for _ in range(3):
        TransitionFactory.create(circuit=circuit)
    html = seen(ann, page(circuit))
    assert "opens again and again" in advice(html)
    assert offered(html)["force_open"]


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"probe_url": PROBE}, {"try_now", "reset", "automatic"}),
        ({"failure_count": 1}, {"probe", "try_now", "automatic"}),
        ({"opened": True, "probe_url": PROBE}, {"probe", "automatic"}),
        ({"expired": True, "probe_url": PROBE}, {"automatic"}),
        ({"opened": True, "mode": Mode.OBSERVE, "probe_url": PROBE}, set()),
        (
            {"opened": True, "mode": Mode.FORCED_OPEN, "probe_url": PROBE},
            {"probe", "try_now", "reset"},
        ),
    ],
)
def test_what_would_do_nothing_is_not_offered(
    ann: Client, values: dict[str, Any], missing: set[str]
) -> None:
    everything = {"probe", "try_now", "reset", "force_open", "force_closed", "observe", "automatic"}
    html = seen(ann, page(CircuitFactory.create(**values)))
    assert offered(html).keys() == everything - missing


def test_who_may_steer_nothing_is_told_to_press_nothing() -> None:
    circuit = CircuitFactory.create(opened=True)
    html = seen(signed_in("view_circuit", name="ben"), page(circuit))
    assert (offered(html), advice(html)) == ({}, "")


@pytest.mark.parametrize(("key", "chosen"), [("force_open", "3600"), ("force_closed", "")])
def test_an_hour_is_proposed_for_refusing_all_calls(ann: Client, key: str, chosen: str) -> None:
    circuit = CircuitFactory.create()
    one = seen(ann, operate(circuit, key))
    asked = ann.post(LIST, {"action": key, "_selected_action": [circuit.pk]})
    for html in (one, asked.content.decode()):
        (value,) = re.findall(r'<option value="(\d*)" selected>', html)
        assert value == chosen
    ann.post(operate_many(key), {"keys": circuit.pk, "modes": "automatic", "seconds": ""})
    assert Circuit.objects.get().mode_until is None, "it is a proposal"


def test_errors_stand_above_everything_and_lead_to_their_fields(ann: Client) -> None:
    circuit = CircuitFactory.create(opened=True)
    html = ann.post(page(circuit), {"threshold": "0", "delay": "soon"}).content.decode()
    assert "<title>Error: " in html
    above = html.index('class="circuits-errors"')
    assert above < html.index('aria-labelledby="circuits-status"')
    assert html.count("errornote") == 1
    errors = html[above : html.index("</ul>", above)]
    assert '<a href="#id_threshold">Threshold</a>' in errors
    assert '<a href="#id_delay">Delay</a>: Enter a number.' in errors
    for anchor in ("id_threshold", "id_delay"):
        assert f'id="{anchor}"' in html


def test_a_link_leads_from_the_top_to_the_policy(ann: Client) -> None:
    html = seen(ann, page(CircuitFactory.create()))
    link, policy = html.index('href="#circuits-policy"'), html.index('id="circuits-policy"')
    assert link < policy < html.index('id="id_threshold"')
