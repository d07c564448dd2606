"""Serves the project with the admin theme of another app, from a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.concurrency import HERE, environment


@contextmanager
def themed(package: str) -> Iterator[str]:
    """Run ``python -m tests.browser.PACKAGE`` while the block runs, and yield its address."""
    with subprocess.Popen(
        [sys.executable, "-m", f"tests.browser.{package}"],
        env=environment(),
        cwd=HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as site:
        assert site.stdout
        yield site.stdout.readline().strip()
        site.communicate()  # ends its input, and with that the site
