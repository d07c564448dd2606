"""The form of a policy in a real browser: what it hides, and the forecast beside it."""

from __future__ import annotations

import pytest
from django.urls import reverse
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from circuits.models import Circuit
from tests.browser.browser import DESKTOP, PHONE, Browser, Device, Theme
from tests.factories import CircuitFactory

FORECAST = "#circuits-forecast"


@pytest.fixture
def payments() -> Circuit:
    return CircuitFactory.create(name="payments")


def visit(browser: Browser, circuit: Circuit) -> None:
    browser.visit(reverse("admin:circuits_circuit_change", args=[circuit.pk]))


def retype(browser: Browser, field: str, value: str) -> None:
    typed = browser.one(f"#id_{field}")
    typed.clear()
    typed.send_keys(value)


def asked(browser: Browser) -> set[str]:
    """Return the fields that belong to a strategy and are visible."""
    by_rate = ("failure_rate", "window_seconds", "window_calls", "minimum_calls")
    names = ("threshold", *by_rate, "max_throttle")
    return {name for name in names if browser.one(f"#id_{name}").is_displayed()}


def test_only_the_fields_of_the_strategy_are_asked_for(browser: Browser, payments: Circuit) -> None:
    visit(browser, payments)
    assert asked(browser) == {"threshold"}
    Select(browser.one("#id_strategy")).select_by_value("rate")
    by_rate = {"failure_rate", "window_seconds", "window_calls", "minimum_calls"}
    assert asked(browser) == by_rate
    Select(browser.one("#id_strategy")).select_by_value("throttle")
    assert asked(browser) == by_rate | {"max_throttle"}


def test_the_forecast_follows_what_is_typed(browser: Browser, payments: Circuit) -> None:
    visit(browser, payments)
    retype(browser, "threshold", "3")
    browser.wait_for_words(FORECAST, r"(?s).*It opens after 3 failures in a row\..*")
    assert browser.errors() == []
    payments.refresh_from_db()
    assert payments.threshold == 5


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=str)
@pytest.mark.parametrize("theme", Theme)
def test_without_scripts_a_button_asks_for_it(
    browser: Browser, payments: Circuit, theme: Theme, device: Device
) -> None:
    browser.become(theme, device)
    with browser.without_scripts():
        visit(browser, payments)
        retype(browser, "threshold", "3")
        browser.one("button[name=_preview]").send_keys(Keys.ENTER)
        browser.wait_for_words(FORECAST, r"(?s).*It opens after 3 failures in a row\..*")
    assert browser.chrome.current_url.endswith(FORECAST)
    assert browser.content_width <= device.width
    visit(browser, payments)
    assert browser.violations() == []


def test_the_enter_key_saves(browser: Browser, payments: Circuit) -> None:
    visit(browser, payments)
    retype(browser, "threshold", "4")
    browser.one("#id_threshold").send_keys(Keys.ENTER)
    browser.wait_for(lambda: not browser.chrome.find_elements(By.ID, "id_threshold"))
    payments.refresh_from_db()
    assert payments.threshold == 4
