"""The form of a policy: percents, units, warnings, and the forecast of what it holds."""

from __future__ import annotations

import re
from time import time

import pytest
from django.test import Client
from django.urls import reverse

from circuits.console.policy_form import SHARES
from circuits.models import POLICY_FIELDS, Circuit, Minute
from tests.factories import CircuitFactory
from tests.staff import page, said, signed_in

pytestmark = pytest.mark.usefixtures("committed")

POLICY = {name: getattr(Circuit(), name) for name in POLICY_FIELDS}
FORM = POLICY | {name: 100 * POLICY[name] for name in SHARES}
PREVIEW = {"_preview": ""}


def html_of(client: Client, circuit: Circuit) -> str:
    return client.get(page(circuit)).content.decode()


def previewed(client: Client, circuit: Circuit, **values: object) -> str:
    response = client.post(page(circuit), FORM | values | PREVIEW)
    assert response.status_code == 200
    html = response.content.decode()
    found = re.search(r'<section[^>]*id="circuits-forecast".*?</section>', html, re.DOTALL)
    assert found
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split()).replace("&nbsp;", " ")


@pytest.fixture
def payments() -> Circuit:
    circuit = CircuitFactory.create(name="payments")
    now = int(time() // 60)
    Minute.objects.bulk_create(
        Minute(circuit=circuit, minute=now - ago, successes=118, failures=2) for ago in range(60)
    )
    return circuit


# Percents and units


@pytest.mark.parametrize(
    ("stored", "shown"), [(0.5, "50"), (0.57, "57"), (0.001, "0.1"), (1, "100"), (0.07, "7")]
)
def test_a_share_is_shown_in_percent_and_saved_as_it_was(
    ann: Client, stored: float, shown: str
) -> None:
    circuit = CircuitFactory.create(failure_rate=stored)
    assert f'name="failure_rate" value="{shown}"' in html_of(ann, circuit)
    assert ann.post(page(circuit), FORM | {"failure_rate": shown}).status_code == 302
    circuit.refresh_from_db()
    assert circuit.failure_rate == stored


def test_what_was_typed_wrongly_stays_as_it_was_typed(ann: Client) -> None:
    circuit = CircuitFactory.create()
    html = ann.post(page(circuit), FORM | {"failure_rate": "120"}).content.decode()
    assert 'name="failure_rate" value="120"' in html
    assert "less than or equal to 100" in html


def test_a_new_circuit_begins_with_the_defaults_in_percent(ann: Client) -> None:
    html = ann.get(reverse("admin:circuits_circuit_add")).content.decode()
    assert 'name="failure_rate" value="50' in html
    response = ann.post(
        reverse("admin:circuits_circuit_add"), FORM | {"name": "new", "jitter": "12.5"}
    )
    assert response.status_code == 302
    assert Circuit.objects.get().jitter == 0.125


@pytest.mark.parametrize(
    ("field", "unit"),
    [
        ("delay", "seconds"),
        ("failure_rate", "%"),
        ("threshold", "failures"),
        ("jitter", "%"),
        ("enforce_share", "%"),
    ],
)
def test_a_unit_stands_beside_its_field_and_is_said_with_it(
    ann: Client, field: str, unit: str
) -> None:
    html = html_of(ann, CircuitFactory.create())
    assert f'id="id_{field}_unit">{unit}</span>' in html
    described = re.search(rf'<input[^>]*name="{field}"[^>]*aria-describedby="([^"]*)"', html)
    assert described
    assert described[1].split() == [f"id_{field}_unit", f"id_{field}_helptext"]


# Warnings


def test_two_values_that_do_not_go_together_are_told_once_they_are_saved(ann: Client) -> None:
    circuit = CircuitFactory.create()
    response = ann.post(page(circuit), FORM | {"lease_seconds": 5})
    assert response.status_code == 302
    (sentence,) = [each for level, each in said(response) if level == "warning"]
    assert sentence.startswith("The trial lease (5 s) is shorter than the timeout (10 s)")


# The forecast


def test_the_page_says_what_the_saved_policy_does(ann: Client, payments: Circuit) -> None:
    html = html_of(ann, payments)
    assert "In the last day 7,200 calls were made" in html
    assert "It opens after 5 failures in a row." in html
    assert "With these values" not in html


def test_a_preview_tells_both_and_saves_nothing(ann: Client, payments: Circuit) -> None:
    told = previewed(ann, payments, threshold=3, lease_seconds=5)
    as_it_is, with_these = told.split("With these values, not saved yet")
    assert "It opens after 5 failures in a row." in as_it_is
    assert "It opens after 3 failures in a row." in with_these
    assert "after about 3 calls" in with_these
    assert "The trial lease (5 s) is shorter" in with_these
    assert "The trial lease" not in as_it_is
    payments.refresh_from_db()
    assert (payments.threshold, payments.lease_seconds) == (5, 30)


def test_a_preview_keeps_what_was_typed_and_complains_of_nothing(
    ann: Client, payments: Circuit
) -> None:
    html = ann.post(page(payments), FORM | PREVIEW | {"threshold": 3}).content.decode()
    assert 'name="threshold" value="3"' in html
    assert "errornote" not in html


def test_a_preview_of_what_is_saved_says_so(ann: Client, payments: Circuit) -> None:
    assert "These are the values that are saved." in previewed(ann, payments)


def test_a_preview_of_a_bad_value_is_an_error_and_no_forecast(
    ann: Client, payments: Circuit
) -> None:
    response = ann.post(page(payments), FORM | PREVIEW | {"threshold": 0})
    assert list(response.context["adminform"].form.errors) == ["threshold"]
    assert "With these values" not in response.content.decode()


def test_who_may_only_look_sees_the_forecast_and_no_preview(payments: Circuit) -> None:
    viewer = signed_in("view_circuit")
    html = html_of(viewer, payments)
    assert "It opens after 5 failures in a row." in html
    assert 'name="_preview"' not in html
    assert viewer.post(page(payments), FORM | PREVIEW).status_code == 403


def test_without_calls_the_policy_is_told_and_no_forecast(ann: Client) -> None:
    html = html_of(ann, CircuitFactory.create())
    assert "No calls are kept, so nothing can be forecast." in html
    assert "It opens after 5 failures in a row." in html


# Families


def test_the_form_of_a_family_carries_what_it_changes(ann: Client) -> None:
    head = CircuitFactory.create(name="payments")
    member = CircuitFactory.create(name="payments/charges")
    response = ann.post(page(head), FORM | {"threshold": 3}, follow=True)
    assert "1 circuit of the family had the old value" in response.content.decode()
    member.refresh_from_db()
    assert member.threshold == 3
