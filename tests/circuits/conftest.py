"""Fixtures that the tests of the app share."""

from __future__ import annotations

import pytest

from tests import clock as clocks
from tests.resolver import resolver as resolver


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> clocks.Clock:
    """The monotonic clock of this process's circuits, which stands still until it is moved."""
    return clocks.install(monkeypatch)
