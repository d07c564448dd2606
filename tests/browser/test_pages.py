"""Every page in a real browser: in the light and the dark, on a desk and in a hand."""

from __future__ import annotations

import pytest

from tests.browser import scene
from tests.browser.browser import DESKTOP, PHONE, Browser, Device, Theme, Violation
from tests.browser.pages import PAGES, Page

#: What is Django's and not ours, each a rule and what it finds there.
DJANGOS = {
    # The link that clears a search, which a phone shows in grey text without an underline.
    ("link-in-text-block", '.small > a[href="?"]'),
}


def ours(violations: list[Violation]) -> list[Violation]:
    return [each for each in violations if (each.rule, each.target) not in DJANGOS]


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
