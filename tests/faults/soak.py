"""How long a case that can run for long does so: ``SOAK_MINUTES``, by hand."""

from __future__ import annotations

import os


def seconds(default: float) -> float:
    """Return how many seconds to go on: ``SOAK_MINUTES`` if it is set, else the default."""
    minutes = os.environ.get("SOAK_MINUTES")
    return float(minutes) * 60 if minutes else default
