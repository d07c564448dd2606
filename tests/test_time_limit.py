"""Checks that no test can hang: each has a time limit, at which it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.concurrency import HERE, PATIENCE

#: The longest limit that a test may set for itself, in seconds.
MOST = 1_800

HANGS = """
from threading import Event

import pytest


@pytest.fixture
def forever():
    Event().wait()


def test_that_hangs():
    Event().wait()


def test_whose_fixture_hangs(forever):
    pass
"""


def test_each_test_has_one(pytestconfig: pytest.Config) -> None:
    assert 0 < float(pytestconfig.getini("timeout")) <= 300
    assert pytestconfig.pluginmanager.hasplugin("timeout")


def test_no_test_takes_its_limit_away(request: pytest.FixtureRequest) -> None:
    """Some tests set a longer limit; this checks those of the present run."""
    own = [mark for item in request.session.items for mark in item.iter_markers("timeout")]
    assert all(mark.args and 0 < mark.args[0] <= MOST for mark in own)


@pytest.mark.parametrize("name", ["test_that_hangs", "test_whose_fixture_hangs"])
def test_a_test_that_hangs_is_ended_and_fails(name: str, tmp_path: Path) -> None:
    file = tmp_path / "test_hanging.py"
    file.write_text(HANGS)
    options = ["-p", "no:cacheprovider", "-c", str(HERE / "pyproject.toml"), "-o", "timeout=1"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"{file}::{name}"],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert ended.returncode == 1
    assert "Timeout" in ended.stdout
