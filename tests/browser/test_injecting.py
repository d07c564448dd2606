"""Injecting faults in a real browser: the question, and the banner that comes and goes."""

from __future__ import annotations

import pytest
from django.urls import reverse
from selenium.webdriver.common.by import By

import circuits
from circuits.admin import CircuitAdmin
from circuits.models import Circuit
from tests.browser.browser import DESKTOP, PHONE, Browser, Device, Theme
from tests.browser.pages import ours
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("faults_allowed")

LIST = reverse("admin:circuits_circuit_changelist")
BANNER = ".circuits-banner"


@pytest.fixture
def payments() -> Circuit:
    return CircuitFactory.create(name="payments")


def page(circuit: Circuit) -> str:
    return reverse("admin:circuits_circuit_change", args=[circuit.pk])


def question(circuit: Circuit) -> str:
    return reverse("admin:circuits_circuit_operate", args=[circuit.pk, "inject"])


def banners(browser: Browser) -> int:
    return len(browser.chrome.find_elements(By.CSS_SELECTOR, BANNER))


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=str)
@pytest.mark.parametrize("theme", Theme)
def test_the_banner_and_the_question_are_accessible(
    browser: Browser, payments: Circuit, theme: Theme, device: Device
) -> None:
    circuits.get("payments").inject(failures=0.5, delay=2)
    browser.become(theme, device)
    for path in (LIST, page(payments), question(payments)):
        browser.visit(path)
        assert browser.one(BANNER).text.startswith("↯ Injected faults: payments until ")
        assert browser.content_width <= device.width
        assert browser.errors() == []
        assert ours(browser.violations()) == [], path
        browser.errors()  # those of the tool that looks for violations


def test_it_comes_and_goes_without_a_reload(
    browser: Browser, payments: Circuit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CircuitAdmin, "poll_seconds", 0.2)
    for path in (LIST, page(payments)):
        browser.visit(path)
        assert banners(browser) == 0
        circuits.get("payments").inject(failures=1)
        browser.wait_for_words(BANNER, r".*payments until .* \(100.% fail\)")
        browser.wait_for_words(
            ".circuits-live [aria-live]",
            r"(?s).*Faults are injected into the calls of payments\..*",
        )
        circuits.get("payments").stop_injection()
        browser.wait_for(lambda: banners(browser) == 0)
        assert browser.errors() == []


def test_one_button_and_one_question_inject_for_ten_minutes(
    browser: Browser, payments: Circuit
) -> None:
    browser.visit(page(payments))
    browser.one(f'.circuits-buttons a[href="{question(payments)}"]').click()
    browser.one(".circuits-confirm [type=submit]").click()
    browser.wait_for(lambda: banners(browser) == 1)
    found = circuits.get("payments").injection
    assert found is not None
    assert (found.failures, found.delay) == (0.5, 0)
