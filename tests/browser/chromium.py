"""Runs the Chromium of this system, which downloads nothing and reaches only this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

MISSING: Final = (
    "No Chromium and chromedriver: apt install chromium chromium-driver fonts-dejavu-core."
)

_ARGUMENTS: Final = (
    "--headless=new",
    "--no-sandbox",  # build servers run as root, and in containers
    "--disable-dev-shm-usage",  # which is small there
    "--disable-gpu",
    "--hide-scrollbars",  # a desktop's would take some of the page's width
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--lang=en",
)

#: Seconds that a page, or a script on it, may take.
_PATIENCE: Final = 30


class NoBrowserError(Exception):
    """The browser or its driver is missing."""


@contextmanager
def chromium() -> Iterator[Chrome]:
    """Run a browser without a window.

    Raises:
        NoBrowserError: This system has none; the message says what to install.
    """
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        raise NoBrowserError(MISSING)
    options = ChromeOptions()
    options.binary_location = str(browser)
    for argument in _ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with Chrome(options=options, service=Service(driver)) as chrome:
        chrome.set_page_load_timeout(_PATIENCE)
        chrome.set_script_timeout(_PATIENCE)
        yield chrome
