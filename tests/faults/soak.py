"""How long the tests run that can run for any length of time."""

from __future__ import annotations

import os


def seconds(default: float) -> float:
    """Return ``SOAK_MINUTES`` in seconds if it is set, and the default otherwise."""
    minutes = os.environ.get("SOAK_MINUTES")
    return float(minutes) * 60 if minutes else default
