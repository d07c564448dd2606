"""Gives tests that can run for long the time that they need."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import soak

#: Seconds that such a test needs for everything else; as much as any test has.
BESIDE = 180.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Raise the time limits of these tests by ``SOAK_MINUTES``."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(soak.seconds(0) + BESIDE))
