"""The pages of the app on a site whose admin uses django-jazzmin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import reverse
from selenium.webdriver import Chrome

from circuits.core.status import Mode
from circuits.models import Circuit
from tests.browser import scene
from tests.browser.browser import DESKTOP, PHONE, Browser, Device, Theme, fresh
from tests.browser.pages import PAGES, Page
from tests.browser.themed import themed
from tests.factories import CircuitFactory


@pytest.fixture(scope="module")
def _jazzmin(django_db_setup: None) -> Iterator[str]:
    with themed("jazzmin") as url:
        yield url


@pytest.fixture
def browser(_chrome: Chrome, committed: None, _jazzmin: str, ann: Client) -> Iterator[Browser]:
    """A superuser's browser at that site."""
    with fresh(_chrome, _jazzmin) as browser:
        browser.sign_in(ann)
        yield browser


def errors(browser: Browser) -> list[str]:
    """Return the errors on the page, except for the font that the theme loads from another host."""
    return [each for each in browser.errors() if not each.startswith("https://fonts.")]


#: The pages that are visible as a whole. The theme puts forms into tabs, and renames their parts.
WHOLE = [page for page in PAGES if page.name not in ("add", "delete", "change")]


@pytest.mark.parametrize("page", WHOLE, ids=str)
def test_a_page_has_all_that_is_ours(page: Page, browser: Browser, remote: str) -> None:
    scene.play(remote)
    browser.visit(page.path())
    assert browser.status == 200
    assert browser.chrome.find_elements("id", "jazzy-sidebar"), "django-jazzmin is not there"
    assert page.missing(browser) == []
    assert errors(browser) == []


#: The selector of the element that needs the width, by the page that it is on.
BROAD = {"circuits": ".circuits-summary", "circuit": ".circuits-page", "incident": ".circuits-page"}

#: The share of the content's width that an element takes, and whether it ends on the screen.
ROOM = """
const box = document.querySelector(arguments[0]).getBoundingClientRect();
const room = document.querySelector(".app-content").clientWidth;
return [box.width / room, box.right <= innerWidth];
"""


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=str)
@pytest.mark.parametrize("name", BROAD)
def test_what_matters_has_the_width_there_is(
    name: str, device: Device, browser: Browser, remote: str
) -> None:
    """The theme puts everything but the form into a narrow column beside it."""
    scene.play(remote)
    browser.become(Theme.LIGHT, device)
    (page,) = (page for page in PAGES if page.name == name)
    browser.visit(page.path())
    share, ends_on_screen = browser.chrome.execute_script(ROOM, BROAD[name])
    assert share > 0.8
    assert ends_on_screen
    assert browser.content_width <= device.width


def test_a_circuit_is_steered(browser: Browser) -> None:
    circuit = CircuitFactory.create(name="payments")
    browser.visit(reverse("admin:circuits_circuit_change", args=[circuit.pk]))
    browser.one('.circuits-buttons a[href$="/force_open/"]').click()
    browser.one("#id_reason").send_keys("they move house")
    browser.one(".circuits-confirm [type=submit]").click()
    browser.wait_for(lambda: Circuit.objects.get().mode == Mode.FORCED_OPEN)
    # The theme capitalizes messages.
    browser.wait_for_words(".alert", r"(?s).*ayments: forced open\..*")
