"""The same pages on a site whose admin is dressed by django-unfold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import reverse
from selenium.webdriver import Chrome

from circuits.core.status import Mode
from circuits.models import Circuit
from tests.browser import scene
from tests.browser.browser import DESKTOP, Browser, Theme, fresh
from tests.browser.pages import PAGES, Page
from tests.browser.themed import themed
from tests.factories import CircuitFactory


@pytest.fixture(scope="module")
def _unfold(django_db_setup: None) -> Iterator[str]:
    with themed("unfold") as url:
        yield url


@pytest.fixture
def browser(_chrome: Chrome, committed: None, _unfold: str, ann: Client) -> Iterator[Browser]:
    """A superuser's browser, at that site."""
    with fresh(_chrome, _unfold) as browser:
        browser.sign_in(ann)
        yield browser


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_has_all_that_is_ours(page: Page, browser: Browser, remote: str) -> None:
    scene.play(remote)
    browser.visit(page.path())
    assert browser.status == 200
    assert browser.one("html").get_attribute("x-data"), "django-unfold is not there"
    assert page.missing(browser) == []
    assert browser.errors() == []


@pytest.mark.parametrize("theme", Theme)
@pytest.mark.parametrize("name", ["circuits", "circuit"])
def test_what_is_ours_can_be_read_in_both_themes(
    browser: Browser, remote: str, theme: Theme, name: str
) -> None:
    scene.play(remote)
    browser.become(theme, DESKTOP)
    (page,) = (page for page in PAGES if page.name == name)
    browser.visit(page.path())
    is_dark = "dark" in (browser.one("html").get_attribute("class") or "").split()
    assert is_dark == (theme is Theme.DARK), "django-unfold does not follow the system"
    assert [each for each in browser.violations() if "circuits-" in each.target] == []


def test_a_circuit_is_steered(browser: Browser) -> None:
    circuit = CircuitFactory.create(name="payments")
    browser.visit(reverse("admin:circuits_circuit_change", args=[circuit.pk]))
    button = browser.one('.circuits-buttons a[href$="/force_open/"]')
    assert button.value_of_css_property("border-top-style") == "solid", "it looks like mere text"
    button.click()
    browser.one("#id_reason").send_keys("they move house")
    browser.one(".circuits-confirm [type=submit]").click()
    browser.wait_for(lambda: "payments: forced open." in browser.one("body").text)
    assert Circuit.objects.get().mode == Mode.FORCED_OPEN
