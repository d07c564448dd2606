"""Tests that can go on for long have as long."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import soak

#: Seconds that such a test needs for all else; as much as any test has.
BESIDE = 180.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let ``SOAK_MINUTES`` be no hang."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(soak.seconds(0) + BESIDE))
