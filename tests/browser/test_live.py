"""Pages that refresh themselves while somebody looks at them and works with them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.views.main import ChangeList
from django.contrib.sessions.models import Session
from django.core.signals import request_started
from django.db import OperationalError
from django.http import HttpRequest
from django.urls import reverse
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

import circuits
from circuits.admin import CircuitAdmin
from circuits.models import Circuit
from tests.browser.browser import PHONE, Browser, Theme
from tests.factories import CircuitFactory

LIST = reverse("admin:circuits_circuit_changelist")

STATUS = ".circuits-connection"
NEWS = ".circuits-live [aria-live]"

#: Marks the page, to see later whether it is still the one that was visited.
MARK = "window.isTheSame = true"
IS_MARKED = "return window.isTheSame === true"


def page(circuit: Circuit) -> str:
    return reverse("admin:circuits_circuit_change", args=[circuit.pk])


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CircuitAdmin, "poll_seconds", 0.2)


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """The URLs that the page requests to stay up to date."""
    paths: list[str] = []

    def note(environ: dict[str, Any], **kwargs: object) -> None:
        if environ["PATH_INFO"].endswith("/live/"):
            paths.append(environ["PATH_INFO"])

    request_started.connect(note)
    yield paths
    request_started.disconnect(note)


def is_quiet(asked: list[str], seconds: float) -> bool:
    """Wait for some seconds, and return whether the page requested nothing in them."""
    before = len(asked)
    time.sleep(seconds)
    return len(asked) == before


class List:
    """The list of circuits in a browser."""

    def __init__(self, browser: Browser, query: str = "") -> None:
        self.browser = browser
        browser.visit(LIST + query)
        browser.chrome.execute_script(MARK)

    @property
    def rows(self) -> list[WebElement]:
        return self.browser.chrome.find_elements(By.CSS_SELECTOR, "#result_list tbody tr")

    @property
    def names(self) -> list[str]:
        """The names of the circuits from the top, read at once since rows come and go."""
        script = "return [...document.querySelectorAll('.field-name a')].map(a => a.textContent)"
        found: list[str] = self.browser.chrome.execute_script(script)
        return found

    def row(self, name: str) -> WebElement:
        return self.rows[self.names.index(name)]

    def says(self, name: str, words: str) -> None:
        """Wait until a circuit's row contains some words, without loading the page again."""
        self.browser.wait_for(lambda: words in self.row(name).text)
        assert self.browser.chrome.execute_script(IS_MARKED)

    def tick(self, name: str) -> WebElement:
        box = self.row(name).find_element(By.CSS_SELECTOR, "input.action-select")
        box.click()
        self.leave()
        return box

    def leave(self) -> None:
        """Move the pointer and the focus away; the ticked boxes stay ticked."""
        self.browser.chrome.execute_script("document.activeElement.blur()")
        self.browser.point_at("h1")


def focused(browser: Browser) -> str:
    text: str = browser.chrome.execute_script("return document.activeElement.textContent")
    return text


# The list ----------------------------------------------------------------------------------------


def test_a_change_is_shown_in_order_counted_and_announced(browser: Browser) -> None:
    for name in ("mail", "payments"):
        CircuitFactory.create(name=name)
    shown = List(browser)
    assert browser.one(NEWS).get_property("textContent") == ""
    circuits.get("payments").force_open()
    shown.says("payments", "open")
    browser.wait_for(lambda: shown.names == ["payments", "mail"])
    assert "1 open" in browser.one(".circuits-summary").text
    news = browser.one(NEWS)
    browser.wait_for(lambda: news.get_property("textContent") == "payments is now forced open.")
    assert browser.one(STATUS).text == ""
    assert browser.errors() == []


def test_nothing_is_announced_but_changes(browser: Browser, asked: list[str]) -> None:
    CircuitFactory.create(opened=True)
    List(browser)
    browser.wait_for(lambda: len(asked) > 3)
    assert browser.one(NEWS).get_property("textContent") == ""


def test_many_changes_at_once_are_not_all_read_out(browser: Browser) -> None:
    for number in range(8):
        CircuitFactory.create(name=f"service {number}")
    List(browser)
    Circuit.objects.update(mode="observe", generation=1)
    news = browser.one(NEWS)
    browser.wait_for(lambda: news.get_property("textContent"))
    said = str(news.get_property("textContent"))
    assert said.count("is now") == 5
    assert said.endswith("…")


def test_a_ticked_row_stays_ticked_and_where_it_is(browser: Browser) -> None:
    for name in ("mail", "payments", "search"):
        CircuitFactory.create(name=name)
    shown = List(browser)
    box = shown.tick("mail")
    circuits.get("search").force_open()
    shown.says("search", "open")
    browser.wait_for(lambda: "The list has changed." in browser.one(STATUS).text)
    assert shown.names == ["mail", "payments", "search"]
    assert box.is_selected()
    box.click()
    shown.leave()
    browser.wait_for(lambda: shown.names == ["search", "mail", "payments"])
    browser.wait_for(lambda: browser.one(STATUS).text == "")


def test_what_is_ticked_after_the_order_changed_is_what_is_meant(browser: Browser) -> None:
    for name in ("mail", "payments", "search"):
        CircuitFactory.create(name=name)
    shown = List(browser)
    circuits.get("search").force_open()
    browser.wait_for(lambda: shown.names == ["search", "mail", "payments"])
    box = shown.tick("mail")
    assert box.get_attribute("value") == str(Circuit.objects.get(name="mail").pk)
    assert "mail" in str(box.get_attribute("aria-label"))
    assert "1 of 3 selected" in browser.one("body").text


def test_a_focused_row_keeps_the_focus_and_its_place(browser: Browser) -> None:
    for name in ("mail", "payments"):
        CircuitFactory.create(name=name)
    shown = List(browser)
    shown.leave()
    link = shown.row("mail").find_element(By.CSS_SELECTOR, ".field-name a")
    browser.chrome.execute_script("arguments[0].focus()", link)
    circuits.get("payments").force_open()
    shown.says("payments", "open")
    circuits.get("mail").observe()
    shown.says("mail", "observe")
    assert shown.names == ["mail", "payments"]
    assert focused(browser) == "mail"


def test_a_row_that_is_pointed_at_does_not_move(browser: Browser) -> None:
    for name in ("mail", "payments"):
        CircuitFactory.create(name=name)
    shown = List(browser)
    browser.point_at(".field-name")
    circuits.get("payments").force_open()
    shown.says("payments", "open")
    assert shown.names == ["mail", "payments"]
    shown.leave()
    browser.wait_for(lambda: shown.names == ["payments", "mail"])


def test_selected_text_stays_selected(browser: Browser, asked: list[str]) -> None:
    CircuitFactory.create(name="payments", opened=True, last_error="HTTP 500")
    List(browser)
    select = "getSelection().selectAllChildren(document.querySelector('.field-error'))"
    browser.chrome.execute_script(select)
    browser.wait_for(lambda: len(asked) > 3)
    assert "HTTP 500" in browser.chrome.execute_script("return String(getSelection())")


def test_the_page_does_not_scroll(browser: Browser) -> None:
    for number in range(45):
        CircuitFactory.create(name=f"service {number:02}")
    shown = List(browser)
    shown.leave()
    browser.chrome.execute_script("scrollTo(0, 900)")
    circuits.get("service 40").force_open()
    browser.wait_for(lambda: shown.names[0] == "service 40")
    # The browser itself corrects for a row above that has grown by a line.
    assert browser.chrome.execute_script("return scrollY") == pytest.approx(900, abs=40)


def test_rows_come_and_go(browser: Browser) -> None:
    for name in ("mail", "payments"):
        CircuitFactory.create(name=name, opened=True)
    CircuitFactory.create(name="search")
    shown = List(browser, "?state__exact=open")
    assert shown.names == ["mail", "payments"]
    circuits.get("mail").reset()
    browser.wait_for(lambda: shown.names == ["payments"])
    circuits.get("payments").reset()
    browser.wait_for(lambda: shown.names == [])
    circuits.get("search").force_open()
    browser.wait_for(lambda: shown.names == ["search"])
    assert "forced open" in shown.row("search").text
    link = shown.row("search").find_element(By.CSS_SELECTOR, ".field-name a")
    assert page(Circuit.objects.get(name="search")) in str(link.get_attribute("href"))
    assert browser.chrome.execute_script(IS_MARKED)


def test_a_ticked_row_that_is_gone_is_marked(browser: Browser) -> None:
    for name in ("mail", "payments"):
        CircuitFactory.create(name=name, opened=True)
    shown = List(browser, "?state__exact=open")
    box = shown.tick("mail")
    circuits.get("mail").reset()
    browser.wait_for(lambda: "circuits-gone" in str(shown.row("mail").get_attribute("class")))
    assert box.is_selected()
    circuits.get("mail").force_open()
    browser.wait_for(lambda: "circuits-gone" not in str(shown.row("mail").get_attribute("class")))


def test_a_list_that_was_empty_fills(browser: Browser) -> None:
    shown = List(browser)
    CircuitFactory.create(name="payments")
    browser.wait_for(lambda: shown.names == ["payments"])


def test_a_wait_is_counted_down_by_itself(
    browser: Browser, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CircuitAdmin, "poll_seconds", 3600)
    CircuitFactory.create(name="payments", opened=True)
    shown = List(browser)
    before = shown.row("payments").find_element(By.CSS_SELECTOR, ".field-retry_in").text
    assert before.startswith("in ")
    browser.wait_for(
        lambda: (
            shown.row("payments").find_element(By.CSS_SELECTOR, ".field-retry_in").text
            not in (before, "")
        )
    )
    assert asked == []


def test_times_are_in_the_zone_of_the_browser(browser: Browser) -> None:
    CircuitFactory.create(name="payments", opened=True)
    with browser.in_zone("Asia/Tokyo"):
        List(browser)
        title = browser.one(".field-since time").get_attribute("title")
    assert "GMT+9" in str(title)


# The page of a circuit ---------------------------------------------------------------------------


def test_the_page_of_a_circuit_keeps_up_and_lets_people_write(browser: Browser) -> None:
    circuit = CircuitFactory.create(name="payments")
    browser.visit(page(circuit))
    browser.chrome.execute_script(MARK)
    field = browser.one("#id_probe_url")
    field.send_keys("http://h/")
    circuits.get("payments").force_open(actor="ben", reason="They move house")
    browser.wait_for(lambda: "They move house" in browser.one("body").text)
    # The history is read after the circuit, so what it says may be one look ahead.
    browser.wait_for(lambda: "All calls are refused" in browser.one("body").text)
    assert "forced open" in str(browser.one(".field-mode_words").get_property("textContent"))
    assert browser.one(NEWS).get_property("textContent") == "payments is now forced open."
    assert field.get_property("value") == "http://h/"
    assert browser.chrome.execute_script(IS_MARKED)
    assert browser.errors() == []


def test_a_circuit_that_is_deleted_is_said_to_be_gone(browser: Browser) -> None:
    circuit = CircuitFactory.create(name="payments")
    browser.visit(page(circuit))
    Circuit.objects.all().delete()
    browser.wait_for(lambda: "is not there any more." in browser.one(STATUS).text)


# When there is nothing to be had -----------------------------------------------------------------


def test_a_hidden_page_asks_for_nothing_and_at_once_when_it_is_shown(
    browser: Browser, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    CircuitFactory.create(name="payments")
    shown = List(browser)
    browser.wait_for(lambda: asked)
    with browser.hidden():
        circuits.get("payments").force_open()
        asked.clear()
        assert is_quiet(asked, seconds=1)
    shown.says("payments", "open")


def test_a_lost_connection_is_said_and_so_is_its_return(browser: Browser) -> None:
    CircuitFactory.create(name="payments")
    shown = List(browser)
    with browser.offline():
        lost = r"Connection lost; this is how it was at \d\d:\d\d:\d\d\. Trying again\."
        browser.wait_for_words(STATUS, lost)
        assert browser.violations() == []
        circuits.get("payments").force_open()
        browser.errors()
    browser.wait_for_words(STATUS, r"Connected again\.")
    shown.says("payments", "open")
    browser.wait_for_words(STATUS, "")


def test_attempts_grow_rarer(browser: Browser, asked: list[str], lost: None) -> None:
    CircuitFactory.create()
    List(browser)
    browser.wait_for(lambda: len(asked) == 3)
    assert is_quiet(asked, seconds=0.7)  # 0.2, 0.4, 0.8, and then 1.6 seconds


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the circuits' database unreadable for a page that refreshes itself."""
    read = CircuitAdmin.get_changelist_instance

    def fail(circuits: CircuitAdmin, request: HttpRequest) -> ChangeList:
        if request.path.endswith("/live/"):
            raise OperationalError("gone")
        return read(circuits, request)

    monkeypatch.setattr(CircuitAdmin, "get_changelist_instance", fail)


def test_an_outage_of_the_circuits_database_is_said(browser: Browser, lost: None) -> None:
    CircuitFactory.create()
    List(browser)
    said = r"The circuits' database cannot be read\. This is how it was at \d\d:\d\d:\d\d\."
    browser.wait_for_words(STATUS, said)


def test_who_is_logged_out_is_told_with_a_way_back(browser: Browser) -> None:
    CircuitFactory.create(name="payments")
    List(browser, "?state__exact=closed")
    Session.objects.all().delete()
    browser.wait_for_words(STATUS, r"You are logged out\..* Log in again")
    link = browser.one(f"{STATUS} a")
    assert str(link.get_attribute("href")).endswith(f"{LIST}?state__exact=closed")


def test_without_scripts_everything_is_there_but_stands_still(
    browser: Browser, asked: list[str]
) -> None:
    CircuitFactory.create(name="payments", opened=True, last_error="HTTP 500")
    with browser.without_scripts():
        browser.visit(LIST)
        for words in ("1 open", "payments", "in 1:00", "HTTP 500", "Beat has never been seen"):
            assert words in browser.one("body").text
        assert browser.one(".circuits-spark").is_displayed()
    assert asked == []


@pytest.mark.parametrize("theme", Theme)
def test_a_phone_shows_each_circuit_as_a_card(browser: Browser, theme: Theme) -> None:
    CircuitFactory.create(name="payments", opened=True, last_error="HTTP 500")
    browser.become(theme, PHONE)
    shown = List(browser)
    row = shown.row("payments")
    for words in ("payments", "open", "in ", "HTTP 500"):
        assert words in row.text
    assert row.size["width"] <= PHONE.width
    assert browser.content_width <= PHONE.width
