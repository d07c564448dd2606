"""Injecting faults in the admin, and the red banner on every page meanwhile."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

import circuits
from circuits.console import live
from circuits.console.rates import Rate
from circuits.models import Circuit, Transition
from tests.factories import CircuitFactory, TransitionFactory
from tests.staff import (
    HISTORY,
    LIST,
    incident,
    operate,
    operate_many,
    page,
    said,
    seen,
    signed_in,
    text,
)

pytestmark = pytest.mark.usefixtures("committed", "faults_allowed")

ASKED = {"failures": "50", "delay": "2", "seconds": "600"}


@pytest.fixture
def payments() -> Circuit:
    return CircuitFactory.create(name="payments")


def injected(name: str, **columns: Any) -> Circuit:
    """Make a circuit with injected faults, half of the calls by default."""
    until = timezone.now() + timedelta(minutes=9)
    given = {"injected_failures": 0.5, "injected_until": until, **columns}
    circuit: Circuit = CircuitFactory.create(name=name, **given)
    return circuit


def forbid(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "ALLOW_INJECTION": False}


def plain(html: str) -> str:
    return text(html).replace("\xa0", " ")


# Injecting ---------------------------------------------------------------------------------------


def test_it_is_said_beforehand_what_will_happen_and_until_when(
    ann: Client, payments: Circuit
) -> None:
    words = plain(seen(ann, operate(payments, "inject")))
    assert "Inject faults: payments" in words
    assert "Calls to payments will fail without reaching the remote, or will be late" in words
    assert "This ends by itself, after an hour at the latest." in words
    assert not Transition.objects.exists()


def test_who_confirms_injects_and_the_history_and_the_log_say_so(
    ann: Client, payments: Circuit
) -> None:
    response = ann.post(operate(payments, "inject"), {**ASKED, "reason": "game day"})
    assert said(response) == [("success", "payments: faults are injected for 10 minutes.")]
    found = circuits.get("payments").injection
    assert found is not None
    assert (found.failures, found.delay) == (0.5, 2)
    transition = Transition.objects.get()
    assert (transition.reason, transition.actor) == ("injection", "ann")
    assert transition.detail == "50% fail, the others are 2 s late: game day"
    entry = LogEntry.objects.get()
    assert entry.change_message == (
        "payments: faults are injected for 10 minutes. Reason: game day"
    )


def test_many_at_once(ann: Client) -> None:
    chosen = CircuitFactory.create_batch(2)
    keys = ",".join(str(each.pk) for each in chosen)
    response = ann.post(operate_many("inject"), {**ASKED, "keys": keys})
    assert said(response) == [("success", "Inject faults: 2 done.")]
    assert all(circuits.get(each.name).injection for each in chosen)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"failures": "0", "delay": "0"}, "Give failures, a delay or both"),
        ({"failures": "101"}, "Ensure this value is less than or equal to 100."),
        ({"failures": "-1"}, "Ensure this value is greater than or equal to 0."),
        ({"failures": "many"}, "Enter a number."),
        ({"delay": "61"}, "Ensure this value is less than or equal to 60."),
        ({"delay": "nan"}, "Enter a number."),
        ({"seconds": "7200"}, "Choose one of the times."),
        ({"seconds": ""}, "This field is required."),
    ],
)
def test_what_cannot_be_injected_is_asked_again(
    ann: Client, payments: Circuit, wrong: dict[str, str], sentence: str
) -> None:
    response = ann.post(operate(payments, "inject"), {**ASKED, **wrong})
    assert response.status_code == 200
    assert sentence in text(response.content.decode())
    assert not Transition.objects.exists()


def test_the_page_offers_to_inject_and_while_it_goes_on_to_change_or_end_it(ann: Client) -> None:
    circuit = CircuitFactory.create(name="payments")
    html = seen(ann, page(circuit))
    assert operate(circuit, "inject") in html
    assert operate(circuit, "stop_injection") not in html
    circuits.get("payments").inject(failures=1)
    html = seen(ann, page(circuit))
    assert "Faults are injected already: change which, or for how long." in html
    assert operate(circuit, "stop_injection") in html
    response = ann.post(operate(circuit, "stop_injection"), {"reason": "seen enough"})
    assert said(response) == [("success", "payments: no more faults are injected.")]
    assert circuits.get("payments").injection is None
    newest = Transition.objects.first()
    assert newest is not None
    assert (newest.actor, newest.detail) == ("ann", "ended: seen enough")


def test_the_history_on_the_page_tells_the_begin_from_the_end(
    ann: Client, payments: Circuit
) -> None:
    circuits.get("payments").inject(failures=0.5, actor="ann", reason="game day")
    circuits.get("payments").stop_injection(actor="bob")
    words = plain(seen(ann, page(payments)))
    assert re.search(
        r"UTC no more faults injected faults bob ended 0 "
        r".* faults injected, until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC injected faults ann "
        r"50% fail: game day",
        words,
    )


def test_where_the_setting_is_off_there_is_no_such_operation(
    ann: Client, payments: Circuit, settings: Settings
) -> None:
    forbid(settings)
    assert "inject" not in seen(ann, page(payments))
    assert "inject" not in seen(ann, LIST)
    for key in ("inject", "stop_injection"):
        assert ann.get(operate(payments, key)).status_code == 404
        assert ann.post(operate(payments, key), ASKED).status_code == 404
        assert ann.post(operate_many(key), {**ASKED, "keys": payments.pk}).status_code == 404
    assert not Transition.objects.exists()


def test_who_may_not_operate_may_not_inject(payments: Circuit) -> None:
    viewer = signed_in("view_circuit", "change_circuit")
    assert viewer.post(operate(payments, "inject"), ASKED).status_code == 403
    assert operate(payments, "inject") not in seen(viewer, page(payments))
    assert circuits.get("payments").injection is None


# The banner --------------------------------------------------------------------------------------


def pages(circuit: Circuit) -> list[str]:
    """Every page of the admin of circuits, and the admin's first page."""
    change = TransitionFactory.create(circuit=circuit, generation=1)
    of_circuit = ("history", "delete", "replay")
    return [
        reverse("admin:index"),
        LIST,
        page(circuit),
        *(reverse(f"admin:circuits_circuit_{name}", args=[circuit.pk]) for name in of_circuit),
        reverse("admin:circuits_circuit_add"),
        operate(circuit, "reset"),
        incident(circuit, 1),
        incident(circuit, 99),
        HISTORY,
        reverse("admin:circuits_transition_change", args=[change.pk]),
        reverse("admin:circuits_opening_changelist"),
        reverse("admin:circuits_opening_change", args=[change.pk]),
    ]


def banner(html: str) -> str:
    """The text of the banner on a page; empty without one."""
    found = re.findall(r'<p class="circuits-banner">.*?</p>', html, re.DOTALL)
    assert len(found) <= 1
    return plain(found[0]) if found else ""


def test_every_page_says_in_red_that_faults_are_injected(ann: Client) -> None:
    circuit = injected("payments", injected_delay=2)
    for url in pages(circuit):
        words = banner(ann.get(url).content.decode())
        assert re.fullmatch(
            r"↯ Injected faults: payments until \d\d:\d\d "
            r"\(50 % fail, the others are 2 s late\)",
            words,
        ), (url, words)


@pytest.mark.parametrize("is_over", [True, False])
def test_without_faults_or_without_the_setting_there_is_no_banner(
    ann: Client, settings: Settings, is_over: bool
) -> None:
    past = timezone.now() - timedelta(seconds=1)
    circuit = injected("payments", **({"injected_until": past} if is_over else {}))
    if not is_over:
        forbid(settings)
    for url in pages(circuit):
        assert banner(ann.get(url).content.decode()) == "", url


def test_those_after_the_fifth_are_counted(ann: Client) -> None:
    for number in range(7):
        injected(f"c{number}", injected_failures=0.0, injected_delay=0.25)
    words = banner(seen(ann, HISTORY))
    assert words.startswith("↯ Injected faults: c0 until ")
    assert words.count("(0.25 s late)") == 5
    assert words.endswith("; 2 more circuits")


def test_the_banner_is_for_those_who_see_circuits(payments: Circuit) -> None:
    injected("secret")
    assert banner(seen(signed_in(), reverse("admin:index"))) == ""
    viewer = signed_in("view_circuit", name="bob")
    assert "secret until" in banner(seen(viewer, reverse("admin:index")))


def test_it_comes_and_goes_without_a_reload(
    ann: Client, payments: Circuit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "RATE", Rate(1_000_000))
    addresses = (
        reverse("admin:circuits_circuit_live"),
        reverse("admin:circuits_circuit_live_one", args=[payments.pk]),
    )

    def now(url: str) -> Any:
        return json.loads(ann.get(url).content)

    for html in (seen(ann, LIST), seen(ann, page(payments))):
        assert html.count('data-circuits-part="banner"') == 1
    assert [banner(now(url)["parts"]["banner"]) for url in addresses] == ["", ""]
    circuits.get("payments").inject(failures=1)
    for url in addresses:
        answer = now(url)
        assert "(100 % fail)" in banner(answer["parts"]["banner"])
        (told,) = answer["circuits"]
        assert told["words"] == "Faults are injected into the calls of payments."
    circuits.get("payments").stop_injection()
    assert [banner(now(url)["parts"]["banner"]) for url in addresses] == ["", ""]


def test_the_list_and_the_page_show_the_circuit_itself_in_red(ann: Client) -> None:
    circuit = injected("payments")
    for url in (LIST, page(circuit)):
        html = seen(ann, url)
        assert 'circuits-badge circuits-injected"><span aria-hidden="true">↯</span> closed' in html
        assert re.search(r"Injected faults until \d\d:\d\d , 50 % fail", plain(html)), url
    assert "Calls pass, as far as the injected faults let them." in text(html)
