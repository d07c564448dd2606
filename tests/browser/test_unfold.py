"""The pages of the app on a site whose admin uses django-unfold."""

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
def _unfold(django_db_setup: None) -> Iterator[str]:
    with themed("unfold") as url:
        yield url


@pytest.fixture
def browser(_chrome: Chrome, committed: None, _unfold: str, ann: Client) -> Iterator[Browser]:
    """A superuser's browser at that site."""
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


#: The pages that are more than a list or a form of django-unfold's own.
OURS = [page for page in PAGES if page.name in {"circuits", "circuit", "confirmation"}]
OURS += [page for page in PAGES if page.name in {"incident", "replay", "add"}]


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=str)
@pytest.mark.parametrize("theme", Theme)
@pytest.mark.parametrize("page", OURS, ids=str)
def test_what_is_ours_can_be_read_in_both_themes(
    browser: Browser, remote: str, page: Page, theme: Theme, device: Device
) -> None:
    scene.play(remote)
    browser.become(theme, device)
    browser.visit(page.path())
    is_dark = "dark" in (browser.one("html").get_attribute("class") or "").split()
    assert is_dark == (theme is Theme.DARK), "django-unfold does not follow the system"
    assert browser.content_width <= device.width
    assert browser.errors() == []
    assert browser.violations() == []


#: The fields of a page's forms, including those that are hidden or folded away.
FIELDS = """
const forms = document.querySelectorAll("#circuit_form, .circuits-confirm, .circuits-try");
const other = ["hidden", "checkbox", "submit"];
return [...forms].flatMap((form) => [...form.querySelectorAll("input, select, textarea")])
    .filter((field) => !other.includes(field.type))
    .map((field) => [field.name, getComputedStyle(field)])
    .map(([name, style]) => [name, style.borderTopWidth, style.borderTopStyle]);
"""


@pytest.mark.parametrize("name", ["circuit", "confirmation", "replay", "add"])
def test_what_can_be_filled_in_has_a_border(browser: Browser, remote: str, name: str) -> None:
    scene.play(remote)
    (page,) = (page for page in PAGES if page.name == name)
    browser.visit(page.path())
    fields = browser.chrome.execute_script(FIELDS)
    assert fields
    assert [field for field in fields if field[1:] != ["1px", "solid"]] == []


#: Whether each button is visible: high enough, with its text inside and a border.
BUTTONS = """
return [...document.querySelectorAll(arguments[0])].map((button) => {
    const style = getComputedStyle(button);
    return {
        isHigh: button.getBoundingClientRect().height >= 32,
        isRoomy: button.scrollHeight <= button.clientHeight + 2,
        isEdged: style.borderTopStyle === "solid" || style.backgroundColor !== "rgba(0, 0, 0, 0)",
    };
});
"""


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=str)
@pytest.mark.parametrize(
    ("name", "buttons", "number"),
    [
        ("circuit", ".circuits-buttons .button, .circuits-preview .button", 6),
        ("confirmation", ".circuits-confirm [type=submit], .circuits-confirm .closelink", 2),
        ("replay", ".circuits-recording .button, .circuits-try .button", 2),
    ],
)
def test_a_button_looks_like_one(
    browser: Browser, remote: str, name: str, buttons: str, number: int, device: Device
) -> None:
    scene.play(remote)
    browser.become(Theme.LIGHT, device)
    (page,) = (page for page in PAGES if page.name == name)
    browser.visit(page.path())
    looks = browser.chrome.execute_script(BUTTONS, buttons)
    assert looks == [{"isHigh": True, "isRoomy": True, "isEdged": True}] * number


def test_the_suggested_button_is_filled(browser: Browser, remote: str) -> None:
    scene.play(remote)
    (page,) = (page for page in PAGES if page.name == "circuit")
    browser.visit(page.path())
    looks = [
        browser.one(selector).value_of_css_property("background-color")
        for selector in (".circuits-buttons .default", ".circuits-buttons .button:not(.default)")
    ]
    assert len(set(looks)) == 2


def test_a_page_that_asks_says_what_about(browser: Browser) -> None:
    circuit = CircuitFactory.create(name="payments")
    browser.visit(reverse("admin:circuits_circuit_operate", args=[circuit.pk, "force_open"]))
    assert browser.one(".circuits-title").text == "Force open: payments"


#: The cells of the list whose text is cut off.
CUT_OFF = """
return [...document.querySelectorAll("#result_list td")]
    .filter((cell) => cell.scrollHeight > cell.clientHeight + 1)
    .map((cell) => cell.className.match(/field-\\w+/)?.[0] ?? cell.className);
"""


def test_no_words_of_the_list_are_cut_off_on_a_phone(browser: Browser, remote: str) -> None:
    scene.play(remote)
    browser.become(Theme.LIGHT, PHONE)
    (page,) = (page for page in PAGES if page.name == "circuits")
    browser.visit(page.path())
    browser.one("#result_list td")
    assert browser.chrome.execute_script(CUT_OFF) == []


#: For each row with a line that gives the reason, whether that line is below the other text.
BELOW = """
const rows = [...document.querySelectorAll("#result_list tr:has(.circuits-why)")];
const words = (row, name) => {
    const range = document.createRange();
    range.selectNodeContents(row.querySelector(name));
    return range.getBoundingClientRect();
};
return rows.map((row) => words(row, ".field-error").top - words(row, ".field-name").bottom);
"""


def test_why_a_circuit_is_as_it_is_stands_below_its_row(browser: Browser, remote: str) -> None:
    scene.play(remote)
    (page,) = (page for page in PAGES if page.name == "circuits")
    browser.visit(page.path())
    browser.one("#result_list .circuits-why")
    distances = browser.chrome.execute_script(BELOW)
    assert len(distances) > 3
    assert all(0 <= distance < 20 for distance in distances), distances


def test_signs_and_units_stand_beside_their_words(browser: Browser, remote: str) -> None:
    scene.play(remote)
    (page,) = (page for page in PAGES if page.name == "circuit")
    browser.visit(page.path())
    swatch = browser.one(".circuits-charts figcaption .circuits-swatch")
    assert swatch.value_of_css_property("display") == "inline-block"
    field, unit = browser.one("#id_delay").rect, browser.one("#id_delay_unit").rect
    assert field["x"] + field["width"] <= unit["x"] < field["x"] + field["width"] + 20


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


def test_a_family_is_unfolded(browser: Browser) -> None:
    for name in ("payments/charges", "payments/refunds", "users"):
        CircuitFactory.create(name=name)
    browser.visit(reverse("admin:circuits_circuit_changelist"))
    link = browser.one("#result_list a[aria-expanded='false']")
    assert link.text == "payments (2 circuits)"
    link.click()
    browser.one("#result_list a[aria-expanded='true']")
    assert "payments/charges" in browser.one("#result_list").text
    assert browser.errors() == []
