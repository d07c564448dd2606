"""Every page in a browser: in light and dark colours, on a desktop and on a phone."""

from __future__ import annotations

import pytest

from tests.browser import scene
from tests.browser.browser import DESKTOP, PHONE, Browser, Device, Theme
from tests.browser.pages import PAGES, Page, ours


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=str)
@pytest.mark.parametrize("theme", Theme)
@pytest.mark.parametrize("page", PAGES, ids=str)
def test_it_is_whole_quiet_and_accessible(
    page: Page, theme: Theme, device: Device, browser: Browser, remote: str
) -> None:
    scene.play(remote)
    browser.become(theme, device)
    browser.visit(page.path())
    assert browser.status == 200
    assert page.missing(browser) == []
    assert browser.content_width <= device.width
    assert browser.errors() == []
    assert ours(browser.violations()) == []


#: The share of the width below the heading that an element takes, and how far it leaves the screen.
_ROOM = """
const content = document.querySelector("#content");
const style = getComputedStyle(content);
const room = content.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
const box = document.querySelector(arguments[0]).getBoundingClientRect();
return [box.width / room, box.right - innerWidth];
"""


#: The selector of the element that needs the width, by the page that it is on.
_BROAD = {
    "circuits": ("#result_list", ".circuits-summary"),
    "circuit": (".circuits-page", ".circuits-status"),
    "incident": (".circuits-page",),
    "confirmation": ("#id_reason",),
    "history": ("#changelist-filter",),
}


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=str)
def test_what_matters_has_the_width_there_is(device: Device, browser: Browser, remote: str) -> None:
    scene.play(remote)
    browser.become(Theme.LIGHT, device)
    for page in PAGES:
        browser.visit(page.path())
        for element in _BROAD.get(page.name, ()):
            share, beyond = browser.chrome.execute_script(_ROOM, element)
            assert (element, share >= 0.6, beyond <= 0) == (element, True, True)


def test_the_breadcrumbs_look_alike_on_all_pages(browser: Browser, remote: str) -> None:
    """The breadcrumbs of our own pages look like those of Django's pages."""
    scene.play(remote)
    looks = {}
    for page in PAGES:
        if page.name == "index":
            continue  # it has no breadcrumbs
        browser.visit(page.path())
        looks[page.name] = browser.one(".breadcrumbs").value_of_css_property("background-color")
        assert browser.one(".breadcrumbs a").size["height"] < 30
    assert len(set(looks.values())) == 1
    assert looks["incident"] != "rgba(0, 0, 0, 0)"


def test_the_buttons_of_a_replay_are_as_high_as_others(browser: Browser, remote: str) -> None:
    scene.play(remote)
    (page,) = (page for page in PAGES if page.name == "replay")
    browser.visit(page.path())
    for selector in (".circuits-recording .button", ".circuits-try .button"):
        assert browser.one(selector).rect["height"] >= 32


def test_what_confirms_and_what_cancels_are_as_wide_as_a_phone_lets_them(
    browser: Browser, remote: str
) -> None:
    scene.play(remote)
    browser.become(Theme.LIGHT, PHONE)
    (page,) = (page for page in PAGES if page.name == "confirmation")
    browser.visit(page.path())
    confirm = browser.one(".circuits-confirm [type=submit]").rect["width"]
    assert confirm == browser.one(".circuits-confirm .closelink").rect["width"] > 300
