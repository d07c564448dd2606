"""Takes the screenshots of the docs: ``python -m tests.browser.screenshots --out docs/images``.

It makes what they show by calls over real HTTP, in databases of its own.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import (  # noqa: E402
    setup_databases,
    setup_test_environment,
    teardown_databases,
)

from circuits.process import runtime  # noqa: E402
from circuits.storage.database import EXPIRY, DatabaseStore  # noqa: E402
from tests.browser import scene  # noqa: E402
from tests.browser.browser import (  # noqa: E402
    DESKTOP,
    Browser,
    Device,
    Theme,
    fresh,
)
from tests.browser.chromium import NoBrowserError, chromium  # noqa: E402
from tests.browser.pages import PAGES, Page  # noqa: E402
from tests.browser.server import strict_project  # noqa: E402
from tests.serving import project, serving  # noqa: E402


class Shot(NamedTuple):
    """A screenshot of a page.

    Args:
        until: The selector of the element to end with; the whole page by default.
    """

    page: str
    theme: Theme
    device: Device
    until: str = ""

    @property
    def name(self) -> str:
        return f"{self.page}-{self.theme}-{self.device}.png"


CHARTS: Final = ".circuits-charts"

SHOTS: Final = (
    Shot("circuits", Theme.LIGHT, DESKTOP),
    Shot("circuits", Theme.DARK, DESKTOP),
    Shot("circuit", Theme.LIGHT, DESKTOP, CHARTS),
    Shot("circuit", Theme.DARK, DESKTOP, CHARTS),
    Shot("confirmation", Theme.LIGHT, DESKTOP, ".circuits-confirm"),
)


def take_all(out: Path) -> None:
    """Take all screenshots and write them to a folder.

    Raises:
        NoBrowserError: This system has no browser.
    """
    out.mkdir(parents=True, exist_ok=True)
    with chromium() as chrome, _databases(), serving(project) as mock:
        scene.play(mock)
        scene.add_a_day_of_calls()
        DatabaseStore().beat(EXPIRY)
        with serving(strict_project) as url, fresh(chrome, url) as browser:
            browser.sign_in(_ann())
            for shot in SHOTS:
                (out / shot.name).write_bytes(_taken(shot, browser))


def _taken(shot: Shot, browser: Browser) -> bytes:
    browser.become(shot.theme, shot.device)
    browser.visit(_page(shot.page).path())
    return browser.picture(shot.until)


def _page(name: str) -> Page:
    return next(page for page in PAGES if page.name == name)


def _ann() -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("ann"))
    return client


@contextmanager
def _databases() -> Iterator[None]:
    setup_test_environment()
    made = setup_databases(verbosity=0, interactive=False)
    try:
        yield
    finally:
        runtime.forget()
        teardown_databases(made, verbosity=0)


def main() -> None:
    """Take the screenshots, or say in one sentence what is missing."""
    parser = ArgumentParser(description="Take the pictures of the docs.")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write them to")
    try:
        take_all(parser.parse_args().out)
    except NoBrowserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
