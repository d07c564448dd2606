"""How calls through a circuit went, minute by minute: what the charts of the admin show."""

from __future__ import annotations

from typing import NamedTuple


class Calls(NamedTuple):
    """How the calls of a stretch of time went; a refused one was not made."""

    successes: int = 0
    failures: int = 0
    refusals: int = 0
