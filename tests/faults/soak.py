"""How long the cases that can run for long do so: ``make soak MINUTES=10``."""

from __future__ import annotations

import os


def seconds(default: float) -> float:
    """Return for how many seconds to go on: SOAK_MINUTES' worth where it is set."""
    minutes = os.environ.get("SOAK_MINUTES")
    return float(minutes) * 60 if minutes else default
