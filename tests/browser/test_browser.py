"""Tests of the tests: the browser reports the faults of a page, and its own absence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.browser import DESKTOP, PHONE, Browser, Theme
from tests.browser.chromium import MISSING
from tests.browser.server import POLICY
from tests.concurrency import HERE
from tests.remotes import Remote, answer, remote_that

PAGE = """<!DOCTYPE html>
<html lang="en">
<title>Not as it should be</title>
<meta name="viewport" content="width=device-width">
<p style="color: red">Styled in place</p>
<p><img src="/nowhere.png"></p>
<pre>A line that is much too long for any phone, since nothing breaks it before it has its end</pre>
<script>document.body.append("A script in the page")</script>
"""


@pytest.fixture
def careless() -> Iterator[Remote]:
    """A site that serves what its policy forbids."""
    page = answer(body=PAGE.encode(), Content_Type="text/html", Content_Security_Policy=POLICY)
    with remote_that(page) as site:
        yield site


def test_what_the_policy_refuses_is_an_error(stranger: Browser, careless: Remote) -> None:
    stranger.visit(careless.url)
    errors = stranger.errors()
    assert any("style-src 'self'" in error for error in errors)
    assert any("script-src 'self'" in error for error in errors)
    assert "A script" not in stranger.one("body").text
    assert stranger.errors() == []


def test_what_a_script_raises_is_an_error(stranger: Browser) -> None:
    stranger.visit("/admin/login/")
    stranger.chrome.execute_script("setTimeout(() => { throw new Error('oh no') })")
    stranger.wait_for(lambda: any("oh no" in error for error in stranger.errors()))


def test_what_is_not_accessible_is_found(stranger: Browser, careless: Remote) -> None:
    stranger.visit(careless.url)
    assert [(each.rule, each.target) for each in stranger.violations()] == [("image-alt", "img")]


def test_what_is_too_wide_for_a_phone_is_seen(stranger: Browser, careless: Remote) -> None:
    for device, fits in ((DESKTOP, True), (PHONE, False)):
        stranger.become(Theme.LIGHT, device)
        stranger.visit(careless.url)
        assert (stranger.content_width <= device.width) is fits


def test_a_theme_is_preferred(stranger: Browser) -> None:
    colours = []
    for theme in Theme:
        stranger.become(theme, DESKTOP)
        stranger.visit("/admin/login/")
        colours.append(stranger.one("body").value_of_css_property("background-color"))
    assert colours == ["rgba(248, 248, 248, 1)", "rgba(33, 33, 33, 1)"]


def test_offline_no_request_comes_through(stranger: Browser) -> None:
    asks = "const done = arguments[0]; fetch('/health').then(() => done(true), () => done(false))"
    stranger.visit("/admin/login/")
    with stranger.offline():
        assert not stranger.chrome.execute_async_script(asks)
    assert stranger.chrome.execute_async_script(asks)


@pytest.mark.parametrize(
    ("required", "outcome"), [("0", "1 skipped"), ("1", "1 error")], ids=["optional", "required"]
)
def test_a_missing_browser_is_said_once_and_plainly(
    required: str, outcome: str, tmp_path: Path
) -> None:
    test = "tests/browser/test_login.py::test_somebody_types_a_password"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        cwd=HERE,
        env={**os.environ, "PATH": str(tmp_path), "REQUIRE_BROWSER": required},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert outcome in done.stdout
    assert MISSING in done.stdout
