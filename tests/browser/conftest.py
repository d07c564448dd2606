"""One browser for all tests, which is reset for each of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from selenium.webdriver import Chrome

from tests.browser.browser import Browser, fresh
from tests.browser.chromium import NoBrowserError, chromium
from tests.browser.server import strict_project
from tests.serving import serving


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder as tests in a browser."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("browser")


@pytest.fixture(scope="session")
def _chrome() -> Iterator[Chrome]:
    try:
        with chromium() as chrome:
            yield chrome
    except NoBrowserError as error:
        # Or else the test fails, where these tests must not be lost unnoticed.
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def _site() -> Iterator[str]:
    with serving(strict_project) as url:
        yield url


@pytest.fixture
def stranger(_chrome: Chrome, committed: None, _site: str) -> Iterator[Browser]:
    """A browser in which nobody has signed in."""
    with fresh(_chrome, _site) as browser:
        yield browser


@pytest.fixture
def browser(stranger: Browser, ann: Client) -> Browser:
    """A superuser's browser."""
    stranger.sign_in(ann)
    return stranger
