"""How long the cases that can go on for long do so."""

from __future__ import annotations

import os


def seconds(default: float) -> float:
    """Return ``SOAK_MINUTES`` in seconds where it is set, else the default."""
    minutes = os.environ.get("SOAK_MINUTES")
    return float(minutes) * 60 if minutes else default
