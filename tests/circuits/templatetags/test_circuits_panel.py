"""The panel on the admin's first page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from circuits.core.status import Mode
from circuits.models import Circuit
from circuits.reports import health
from tests.factories import fell
from tests.staff import page, seen, signed_in, text

pytestmark = pytest.mark.usefixtures("committed")

INDEX = reverse("admin:index")
INCIDENTS = reverse("admin:circuits_opening_changelist")


def panel(client: Client) -> str:
    found = re.search(
        r'<section class="circuits-panel.*?</section>', seen(client, INDEX), re.DOTALL
    )
    return text(found[0]) if found else ""


def test_the_first_page_says_how_many_are_down_and_which_is_worst(ann: Client) -> None:
    assert panel(ann) == "0 circuits, none of them down. All circuits · Incidents"
    fell("mail", minutes_ago=90, lasted=6)
    assert panel(ann).startswith("1 circuit, and it is not down.")
    fell("stock", minutes_ago=5)
    payments = fell("payments", minutes_ago=15)
    fell("shut", minutes_ago=30)
    Circuit.objects.filter(name="shut").update(mode=Mode.FORCED_OPEN)
    fell("watched", minutes_ago=40)
    Circuit.objects.filter(name="watched").update(mode=Mode.OBSERVE)
    assert panel(ann) == ("✕ 3 down, the worst: payments, for 15 minutes All circuits · Incidents")
    html = seen(ann, INDEX)
    for url in (page(payments), INCIDENTS):
        assert f'href="{url}"' in html


def test_who_may_see_no_circuits_sees_no_panel() -> None:
    fell("payments", minutes_ago=15)
    assert panel(signed_in("view_user", name="ben")) == ""
    assert panel(signed_in("view_circuit", name="eve")) != ""


def test_the_first_page_outlives_the_circuits_database(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(health, "counted", fail)
    assert panel(ann) == "✕ The circuits' database cannot be read."


@pytest.mark.parametrize("site", ["ruled", "narrowed"])
def test_hidden_circuits_are_not_counted(settings: Settings, site: str) -> None:
    settings.ROOT_URLCONF = f"tests.circuits.console.{site}_urls"
    fell("hidden", minutes_ago=99)
    fell("mail", minutes_ago=9)
    said = panel(signed_in("view_circuit", name="ben"))
    assert said.startswith("✕ 1 down: mail, for 9 minutes")
