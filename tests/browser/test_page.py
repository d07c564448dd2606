"""A circuit's page in a browser, and its operations: by keyboard alone, and on many circuits."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.utils import timezone
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from circuits.core.status import Mode, State
from circuits.models import Circuit, Transition
from tests.browser.browser import DESKTOP as DESK
from tests.browser.browser import Browser, Theme
from tests.factories import CircuitFactory

LIST = reverse("admin:circuits_circuit_changelist")

#: Whether the focused element has an outline, which somebody who presses Tab must see.
OUTLINED = """
const style = getComputedStyle(document.activeElement);
const hasLine = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
return hasLine || style.boxShadow !== "none";
"""


def page(circuit: Circuit) -> str:
    return reverse("admin:circuits_circuit_change", args=[circuit.pk])


class Keyboard:
    """A user who has only a keyboard."""

    def __init__(self, browser: Browser) -> None:
        self.chrome = browser.chrome

    @property
    def focused(self) -> WebElement:
        return self.chrome.switch_to.active_element

    def press(self, *keys: str) -> None:
        for key in keys:
            self.focused.send_keys(key)

    def tab_to(self, selector: str) -> None:
        """Press Tab until an element has the focus, and check the outline of each one of ours."""
        wanted = self.chrome.find_element(By.CSS_SELECTOR, selector)
        for _ in range(80):
            self.press(Keys.TAB)
            if self.focused.find_elements(By.XPATH, "ancestor-or-self::*[@id='content']"):
                assert self.chrome.execute_script(OUTLINED), self.focused.get_attribute("outerHTML")
            if self.focused == wanted:
                return
        raise AssertionError(f"Tab never comes to {selector}")


@pytest.mark.parametrize("theme", Theme)
def test_a_circuit_is_steered_with_the_keyboard_alone(browser: Browser, theme: Theme) -> None:
    circuit = CircuitFactory.create(name="payments", opened=True)
    browser.become(theme, DESK)
    browser.visit(page(circuit))
    keyboard = Keyboard(browser)
    keyboard.tab_to('.circuits-buttons a[href$="/force_open/"]')
    keyboard.press(Keys.ENTER)
    assert keyboard.focused.get_attribute("id") == "id_reason", "where there is something to type"
    keyboard.press("they move house")
    keyboard.tab_to("#id_seconds")
    keyboard.press("30")  # as one chooses from a list by its first letters
    keyboard.tab_to(".circuits-confirm [type=submit]")
    keyboard.press(Keys.ENTER)
    browser.wait_for(lambda: "forced open" in browser.one(".messagelist").text)
    now = Circuit.objects.get()
    assert now.mode == Mode.FORCED_OPEN
    assert now.mode_until is not None
    assert timedelta(minutes=29) < now.mode_until - timezone.now() <= timedelta(minutes=30)
    change = Transition.objects.get()
    assert (change.actor, change.detail, change.until) == ("ann", "they move house", now.mode_until)
    assert "they move house" in LogEntry.objects.get().get_change_message()
    assert browser.errors() == []


def test_nothing_is_done_for_who_cancels(browser: Browser) -> None:
    circuit = CircuitFactory.create(name="payments")
    browser.visit(page(circuit))
    browser.one('.circuits-buttons a[href$="/force_open/"]').click()
    browser.one(".circuits-confirm .closelink").click()
    browser.wait_for(lambda: browser.chrome.current_url.endswith(page(circuit)))
    assert (Circuit.objects.get().mode, Transition.objects.count()) == (Mode.AUTOMATIC, 0)


def test_an_open_circuit_has_a_ring_and_a_closed_one_none(browser: Browser) -> None:
    down = CircuitFactory.create(opened=True)
    browser.visit(page(down))
    ring = browser.one(".circuits-status svg[data-circuits-countdown]")
    assert float(ring.get_attribute("data-circuits-countdown") or 0) > 0
    browser.visit(page(CircuitFactory.create()))
    assert not browser.chrome.find_elements(By.CSS_SELECTOR, "svg[data-circuits-countdown]")


def choose(browser: Browser, action: str, *, all_there_are: bool = False) -> None:
    """Choose an action of the list for all circuits of the page, or of all pages."""
    browser.one("#action-toggle").click()
    if all_there_are:
        browser.one(".actions .question a").click()
    Select(browser.one("select[name=action]")).select_by_value(action)
    browser.one(".actions button").click()


@pytest.mark.parametrize("all_there_are", [False, True])
def test_many_are_steered_at_once(browser: Browser, all_there_are: bool) -> None:
    CircuitFactory.create_batch(60)
    browser.visit(LIST)
    choose(browser, "force_open", all_there_are=all_there_are)
    number = 60 if all_there_are else 50
    assert f"these {number} circuits" in browser.one(".circuits-consequence").text
    assert ("And 10 more." in browser.one(".circuits-confirm").text) == all_there_are
    assert browser.violations() == []
    browser.one("#id_reason").send_keys("the provider is down")
    browser.one(".circuits-confirm [type=submit]").click()
    browser.wait_for(lambda: f"{number} done" in browser.one(".messagelist").text)
    assert Circuit.objects.filter(mode=Mode.FORCED_OPEN).count() == number
    assert set(Transition.objects.values_list("detail", flat=True)) == {"the provider is down"}


def test_what_did_not_work_is_named(browser: Browser) -> None:
    CircuitFactory.create_batch(3, opened=True)
    shut = CircuitFactory.create(name="newsletter", opened=True, mode=Mode.FORCED_OPEN)
    browser.visit(LIST)
    choose(browser, "reset")
    browser.one(".circuits-confirm [type=submit]").click()
    browser.wait_for(lambda: "3 done" in browser.one(".messagelist").text)
    assert shut.name in browser.one(".messagelist").text
    assert Circuit.objects.filter(state=State.CLOSED).count() == 3


def test_a_unit_stands_beside_its_field(browser: Browser) -> None:
    browser.visit(reverse("admin:circuits_circuit_add"))
    field, unit = browser.one("#id_delay").rect, browser.one("#id_delay_unit").rect
    assert field["x"] + field["width"] <= unit["x"] < field["x"] + field["width"] + 20
    assert field["y"] <= unit["y"] + unit["height"] / 2 <= field["y"] + field["height"]
