"""Notices when most circuits that this process uses fail together: then its host is the cause."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from . import identity
from .gate import Gate

logger = logging.getLogger("circuits")

#: The least number of circuits in use from which the notice makes sense.
FEWEST: Final = 3

_is_said = False


def notice(used: Sequence[Gate]) -> None:
    """Log once that most circuits in use fail for this process, and again only after they worked.

    Args:
        used: The gates of the circuits that were called lately.
    """
    global _is_said
    failing = [gate.name for gate in used if gate.fails_for_this_process()]
    is_host = len(used) >= FEWEST and 2 * len(failing) > len(used)
    if is_host and not _is_said:
        logger.error(
            "%d of the %d circuits that the process %s uses fail for it, such as %s: "
            "look at this host, not at them.",
            len(failing),
            len(used),
            identity.own(),
            min(failing),
        )
    _is_said = is_host


def forget() -> None:
    """Forget that anything was logged, for a new process."""
    global _is_said
    _is_said = False
