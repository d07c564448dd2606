"""The list of circuits on a laptop with the sidebar open, as somebody on call sees it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

import circuits
from circuits.admin import CircuitAdmin
from circuits.models import Circuit, Minute
from tests.browser.browser import DESKTOP, PHONE, Browser, Device, Theme
from tests.browser.pages import ours
from tests.factories import CircuitFactory

LIST = reverse("admin:circuits_circuit_changelist")

#: The longest error that is kept.
ERROR = ("ConnectionError: HTTPSConnectionPool(host='payments.example', port=443) " * 9)[:500]

#: Where each row of the list ends, in CSS pixels from the top of the page.
BOTTOMS = """
const rows = [...document.querySelectorAll("#result_list tbody tr")];
return rows.map((row) => row.getBoundingClientRect().bottom + scrollY);
"""

#: Where the first row and each of its cells stand.
BOXES = """
const row = document.querySelector("#result_list tbody tr");
const box = (element) => (({left, right, top, bottom}) => ({left, right, top, bottom}))(
    element.getBoundingClientRect());
const cells = Object.fromEntries([...row.cells].map((cell) => [cell.classList[0], box(cell)]));
return {...cells, row: box(row)};
"""


def some_circuits(number: int, down: int) -> None:
    """Make circuits, of which some are down with a long error."""
    CircuitFactory.create_batch(number - down)
    since = timezone.now() - timedelta(minutes=15)
    CircuitFactory.create_batch(
        down,
        opened=True,
        down_since=since,
        reopen_count=7,
        total_refusals=3_752,
        last_error=ERROR,
        last_failure_at=timezone.now(),
    )


def test_fifteen_circuits_fit(browser: Browser) -> None:
    some_circuits(15, down=3)
    browser.visit(LIST)
    assert browser.one("#nav-sidebar").size["width"] > 200, "the sidebar is open"
    bottoms = browser.chrome.execute_script(BOTTOMS)
    assert len(bottoms) == 15
    assert bottoms[-2] <= DESKTOP.height, "the name of the last one is on the screen"


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=str)
@pytest.mark.parametrize("theme", Theme)
def test_why_stands_below_the_name(browser: Browser, device: Device, theme: Theme) -> None:
    some_circuits(1, down=1)
    browser.become(theme, device)
    browser.visit(LIST)
    boxes: dict[str, Any] = browser.chrome.execute_script(BOXES)
    why, row = boxes["field-error"], boxes["row"]
    assert why["top"] >= boxes["field-name"]["top"] + 16
    assert why["bottom"] <= row["bottom"] + 1
    assert why["right"] <= min(row["right"], device.width)
    for name in ("field-state_badge", "field-since", "field-retry_in", "field-calls"):
        assert boxes[name]["right"] <= device.width
    seen = browser.one("#result_list tbody tr").text
    for words in ("open", "7 failed trials", "3,752 refused", "ConnectionError"):
        assert words in seen
    assert browser.errors() == []


def test_a_row_with_nothing_to_explain_has_one_line(browser: Browser) -> None:
    some_circuits(2, down=1)
    browser.visit(LIST)
    first, second = browser.chrome.execute_script(BOTTOMS)
    assert second - first < 32


# Families ----------------------------------------------------------------------------------------

NAMES = """
return [...document.querySelectorAll("#result_list .field-name a")].map((a) => a.textContent);
"""

#: Where the name of each circuit begins, in CSS pixels.
LEFTS = """
const links = [...document.querySelectorAll("#result_list .field-name a")];
return Object.fromEntries(links.map((a) => [a.textContent, a.getBoundingClientRect().left]));
"""

FOLDED = ["payments (12 circuits)", "mail", "users"]


def a_family() -> None:
    """Make a family of twelve circuits, of which three are down, and two single circuits."""
    names = [f"payments/{n}" for n in ("card", "giro", "refunds", *"abcdefgh")]
    now = timezone.now()
    since = {"down_since": now - timedelta(minutes=15), "total_refusals": 1_250}
    CircuitFactory.create(
        name=names[2], opened=True, last_error=ERROR, last_failure_at=now, **since
    )
    CircuitFactory.create(name=names[1], opened=True)
    CircuitFactory.create(name=names[0], state="half_open", state_changed_at=now)
    for name in ("payments", *names[3:], "mail", "users"):
        CircuitFactory.create(name=name)
    minute = int(now.timestamp() // 60)
    for circuit in Circuit.objects.filter(name__startswith="payments"):
        for back in range(50):
            refusals = 3 * (circuit.name == names[2] and back < 15)
            Minute.objects.create(
                circuit=circuit, minute=minute - back, successes=back % 7, refusals=refusals
            )


class Families:
    """The list of circuits with a family in it."""

    def __init__(self, browser: Browser, query: str = "") -> None:
        self.browser = browser
        browser.visit(LIST + query)

    @property
    def names(self) -> list[str]:
        found: list[str] = self.browser.chrome.execute_script(NAMES)
        return found

    @property
    def link(self) -> WebElement:
        return self.browser.one("#result_list .field-name a")

    def is_unfolded(self) -> bool:
        return len(self.names) == 15 and self.link.get_attribute("aria-expanded") == "true"

    def is_folded(self) -> bool:
        return self.names == FOLDED and self.link.get_attribute("aria-expanded") == "false"


def test_a_family_is_unfolded_with_the_mouse_and_folded_with_the_keyboard(browser: Browser) -> None:
    a_family()
    shown = Families(browser)
    assert shown.is_folded()
    shown.link.click()
    browser.wait_for(shown.is_unfolded)
    assert shown.names[:2] == ["payments (12 circuits)", "payments"]
    focused = "return document.activeElement.textContent"
    browser.wait_for(lambda: browser.chrome.execute_script(focused) == FOLDED[0])
    browser.chrome.switch_to.active_element.send_keys(Keys.ENTER)
    browser.wait_for(shown.is_folded)
    assert browser.errors() == []


def test_what_is_ticked_stays_ticked_and_the_row_where_it_was(browser: Browser) -> None:
    some_circuits(30, down=0)
    a_family()
    CircuitFactory.create_batch(12, opened=True)
    shown = Families(browser, "?o=1")  # by name: the family is below the screen
    rows = "[...document.querySelectorAll('#result_list tbody tr')]"
    box = f"{rows}.find((row) => row.textContent.includes('mail')).querySelector('input')"
    browser.chrome.execute_script(f"{box}.click()")
    family = "document.querySelector('#result_list a[aria-expanded]')"
    browser.chrome.execute_script(f"{family}.scrollIntoView({{block: 'center'}})")
    top = f"return {family}.getBoundingClientRect().top"
    before = browser.chrome.execute_script(top)
    browser.chrome.find_element("link text", FOLDED[0]).click()
    browser.wait_for(lambda: "payments/card" in shown.names)
    browser.wait_for(lambda: abs(browser.chrome.execute_script(top) - before) < 2)
    assert browser.chrome.execute_script(f"return {box}.checked")
    browser.wait_for(lambda: browser.one(".action-counter").text.startswith("1 of"))


def test_what_comes_live_leaves_the_family_unfolded(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CircuitAdmin, "poll_seconds", 0.2)
    a_family()
    shown = Families(browser)
    shown.link.click()
    browser.wait_for(shown.is_unfolded)
    CircuitFactory.create(name="payments/new", opened=True)
    counts = "#result_list tbody tr .field-since"
    browser.wait_for(lambda: "3 open, 1 half open" in browser.one(counts).text)
    browser.chrome.execute_script("document.activeElement.blur()")
    browser.point_at("h1")
    browser.wait_for(lambda: "payments/new" in shown.names)
    assert shown.names[0] == "payments (13 circuits)"
    assert shown.link.get_attribute("aria-expanded") == "true"


def test_what_comes_live_leaves_the_family_folded(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CircuitAdmin, "poll_seconds", 0.2)
    a_family()
    shown = Families(browser)
    circuits.get("payments/a").force_open()
    counts = "#result_list tbody tr .field-since"
    browser.wait_for(lambda: "3 open, 1 half open" in browser.one(counts).text)
    said = "return document.querySelector('.circuits-live [aria-live]').textContent"
    browser.wait_for(
        lambda: (
            browser.chrome.execute_script(said) == "payments (12 circuits): 3 open, 1 half open."
        )
    )
    assert shown.is_folded()


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=str)
def test_the_circuits_of_a_family_stand_further_in(browser: Browser, device: Device) -> None:
    a_family()
    browser.become(Theme.LIGHT, device)
    Families(browser, "?unfolded=payments")
    lefts: dict[str, float] = browser.chrome.execute_script(LEFTS)
    assert lefts["payments/card"] == lefts["payments"] > lefts["users"] + 8


def test_without_scripts_a_family_unfolds_too(browser: Browser) -> None:
    a_family()
    with browser.without_scripts():
        browser.visit(LIST)
        browser.one("#result_list .field-name a").click()
        browser.wait_for(lambda: "payments/card" in browser.one("#result_list").text)


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=str)
@pytest.mark.parametrize("theme", Theme)
@pytest.mark.parametrize("query", ["", "?unfolded=payments"], ids=["folded", "unfolded"])
def test_a_family_can_be_read_by_everybody(
    browser: Browser, device: Device, theme: Theme, query: str
) -> None:
    a_family()
    browser.become(theme, device)
    Families(browser, query)
    row = browser.one("#result_list tbody tr").text
    for words in ("payments (12 circuits)", "2 open, 1 half open; the worst since"):
        assert words in row
    assert ("payments/refunds: ConnectionError" in row) == (not query)
    assert browser.content_width <= device.width
    assert ours(browser.violations()) == []
    assert browser.errors() == []
