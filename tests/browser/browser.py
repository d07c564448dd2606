"""A browser for the tests, with what it shows and the errors that it reports."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin

from django.conf import settings
from django.test import Client
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.concurrency import wait_until

#: The standards of accessibility that pages are checked against.
STANDARDS: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")

_RUN_AXE: Final = """
const [standards, done] = arguments;
axe.run(document, {runOnly: {type: "tag", values: standards}, resultTypes: ["violations"]})
    .then(results => done(results.violations), error => done([{id: String(error), nodes: []}]));
"""


class Theme(StrEnum):
    """The colour scheme that the user's system prefers."""

    LIGHT = "light"
    DARK = "dark"


class Device(NamedTuple):
    """A screen, in CSS pixels."""

    name: str
    width: int
    height: int
    is_mobile: bool

    def __str__(self) -> str:
        return self.name


DESKTOP: Final = Device("desktop", 1280, 800, is_mobile=False)
PHONE: Final = Device("phone", 390, 844, is_mobile=True)


class Violation(NamedTuple):
    """A problem of accessibility, as axe reports it."""

    rule: str
    target: str
    summary: str


class Browser:
    """One browser window.

    Args:
        chrome: The driver of the window.
        url: The base URL of the site that it visits.
    """

    def __init__(self, chrome: Chrome, url: str) -> None:
        self.chrome = chrome
        self._url = url

    # Where it is

    def visit(self, path: str) -> None:
        """Go to a page of the site."""
        self.chrome.get(urljoin(self._url, path))

    def sign_in(self, client: Client) -> None:
        """Take over the session of a test client."""
        cookie = client.cookies[settings.SESSION_COOKIE_NAME]
        self._tell("Network.setCookie", name=cookie.key, value=cookie.value, url=self._url)

    def forget(self) -> None:
        """Leave the page, which may still send requests, and return to a light desktop."""
        self.chrome.get("about:blank")
        self._tell("Network.clearBrowserCookies")
        self._tell("Storage.clearDataForOrigin", origin=self._url, storageTypes="all")
        self.become(Theme.LIGHT, DESKTOP)
        self.errors()

    # What it is like

    def become(self, theme: Theme, device: Device) -> None:
        """Use a colour scheme and a screen, without animations, so that no test waits for one."""
        features = {"prefers-color-scheme": theme, "prefers-reduced-motion": "reduce"}
        self._tell(
            "Emulation.setEmulatedMedia",
            features=[{"name": name, "value": value} for name, value in features.items()],
        )
        self._tell(
            "Emulation.setDeviceMetricsOverride",
            width=device.width,
            height=device.height,
            deviceScaleFactor=1,
            mobile=device.is_mobile,
        )

    @contextmanager
    def offline(self) -> Iterator[None]:
        """Block all requests while the block runs."""
        self.chrome.set_network_conditions(offline=True, latency=0, throughput=-1)
        try:
            yield
        finally:
            self.chrome.delete_network_conditions()

    @contextmanager
    def without_scripts(self) -> Iterator[None]:
        """Turn JavaScript off while the block runs."""
        self._tell("Emulation.setScriptExecutionDisabled", value=True)
        try:
            yield
        finally:
            self._tell("Emulation.setScriptExecutionDisabled", value=False)

    @contextmanager
    def in_zone(self, name: str) -> Iterator[None]:
        """Use a time zone while the block runs."""
        self._tell("Emulation.setTimezoneOverride", timezoneId=name)
        try:
            yield
        finally:
            self._tell("Emulation.setTimezoneOverride", timezoneId="")

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Look at another tab while the block runs."""
        here = self.chrome.current_window_handle
        self.chrome.switch_to.new_window("tab")
        try:
            yield
        finally:
            self.chrome.close()
            self.chrome.switch_to.window(here)

    def point_at(self, selector: str) -> None:
        """Move the pointer to the first element that a CSS selector matches."""
        ActionChains(self.chrome).move_to_element(self.one(selector)).perform()

    # What it shows

    @property
    def status(self) -> int:
        """The HTTP status of the page."""
        ask = "return performance.getEntriesByType('navigation')[0].responseStatus"
        return int(self.chrome.execute_script(ask))

    @property
    def content_width(self) -> int:
        """The width of the page in CSS pixels; a page wider than the screen scrolls sideways."""
        return int(self.chrome.execute_script("return document.scrollingElement.scrollWidth"))

    def one(self, selector: str) -> WebElement:
        """Wait for an element that a CSS selector finds, and return the first."""
        self.wait_for(lambda: self.chrome.find_elements(By.CSS_SELECTOR, selector))
        return self.chrome.find_element(By.CSS_SELECTOR, selector)

    def wait_for(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        """Wait until a condition holds, and fail if it does not hold in time.

        The condition may look for elements that are not there yet, or that were on an earlier page.
        """

        def holds() -> bool:
            with suppress(NoSuchElementException, StaleElementReferenceException):
                return bool(condition())
            return False

        wait_until(holds, seconds)

    def wait_for_words(self, selector: str, pattern: str) -> None:
        """Wait until the whole text of an element matches a regular expression."""
        self.wait_for(lambda: re.fullmatch(pattern, self.one(selector).text))

    def picture(self, until: str = "") -> bytes:
        """Return the page as a PNG, including what is below the screen.

        Args:
            until: The selector of the element to end with; the whole page by default.
        """
        size = self._tell("Page.getLayoutMetrics")["cssContentSize"]
        if until:
            end = self.one(until).rect
            size["height"] = min(size["height"], end["y"] + end["height"] + 16)
        area = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        taken = self._tell("Page.captureScreenshot", clip=area, captureBeyondViewport=True)
        return base64.b64decode(taken["data"])

    # What is wrong

    def errors(self) -> list[str]:
        """Return new messages of the console: errors, and what the CSP refused."""
        log: list[dict[str, Any]] = self.chrome.get_log("browser")  # type: ignore[no-untyped-call]
        told = [entry["message"] for entry in log if entry["level"] in {"WARNING", "SEVERE"}]
        # The browser requests the icon by itself; whether there is one is up to the site.
        return [message for message in told if "/favicon.ico " not in message]

    def violations(self) -> list[Violation]:
        """Return the problems that axe finds on the page."""
        self.chrome.execute_script(_axe())
        found = self.chrome.execute_async_script(_RUN_AXE, STANDARDS)
        return [
            Violation(rule["id"], str(node["target"][0]), node["failureSummary"])
            for rule in found
            for node in rule["nodes"]
        ]

    def _tell(self, command: str, **parameters: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.chrome.execute_cdp_cmd(command, parameters)
        return answer


@contextmanager
def fresh(chrome: Chrome, url: str) -> Iterator[Browser]:
    """Yield a browser without cookies or storage, and clear them afterwards."""
    browser = Browser(chrome, url)
    browser.forget()
    try:
        yield browser
    finally:
        browser.forget()


@cache
def _axe() -> str:
    return (files("selenium_axe_python") / "axe-core" / "axe.min.js").read_text()
