"""Signing in by hand, and what works without any JavaScript."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.urls import reverse

from circuits.core.status import Mode
from circuits.models import Circuit
from tests.browser.browser import Browser
from tests.factories import CircuitFactory

LIST = reverse("admin:circuits_circuit_changelist")


def test_somebody_types_a_password(stranger: Browser) -> None:
    get_user_model().objects.create_superuser("ann", password="not a secret")
    stranger.visit(LIST)
    stranger.one("#id_username").send_keys("ann")
    stranger.one("#id_password").send_keys("not a secret")
    stranger.one("[type=submit]").click()
    stranger.wait_for(lambda: stranger.one("h1").text == "Select circuit to change")
    assert stranger.errors() == []


def test_a_circuit_is_steered_without_scripts(browser: Browser) -> None:
    circuit = CircuitFactory.create(name="payments")
    with browser.without_scripts():
        browser.visit(reverse("admin:circuits_circuit_change", args=[circuit.pk]))
        browser.one('.circuits-buttons a[href$="/force_open/"]').click()
        browser.one("#id_reason").send_keys("they move house")
        browser.one(".submit-row [type=submit]").click()
        said = "Payments: forced open"
        browser.wait_for(lambda: browser.one(".messagelist .success").text.startswith(said))
    assert Circuit.objects.get().mode == Mode.FORCED_OPEN
