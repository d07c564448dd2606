"""Serves the project with django-unfold until standard input ends."""

from __future__ import annotations

from tests.worker import say_and_wait, set_up

set_up("tests.browser.unfold.settings")

from tests.serving import project, serving  # noqa: E402

with serving(project) as url:
    say_and_wait(url)
