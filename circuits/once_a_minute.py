"""Limits a repeated log line to one a minute."""

from __future__ import annotations

from time import monotonic
from typing import Final

#: Seconds between two log lines about the same trouble.
LOG_SECONDS: Final = 60.0

#: When the next line about each kind of trouble is due, in seconds on the monotonic clock.
_due_at: Final[dict[str, float]] = {}


def is_due(trouble: str, now: float | None = None) -> bool:
    """Return whether to log a line now: whether the last one about this trouble is a minute old.

    If so, the line counts as written. No lock is taken, since a fork could leave it locked, so two
    threads may both log the line.

    Args:
        trouble: A name for the kind of trouble.
        now: Seconds on the monotonic clock; by default the present time.

    Example::

        except Exception:
            if once_a_minute.is_due("flush"):
                logger.exception("Could not write down what was gathered.")
    """
    now = monotonic() if now is None else now
    if now < _due_at.get(trouble, now):
        return False
    _due_at[trouble] = now + LOG_SECONDS
    return True


def forget() -> None:
    """Forget all lines that were logged, for a new process."""
    _due_at.clear()
