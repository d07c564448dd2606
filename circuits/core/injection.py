"""Injected faults: for a while, some calls fail and the others are late, to try out fallbacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from .clocks import CLOCK_SKEW
from .policy import Limits

#: For how many seconds faults may be injected.
INJECTION_SECONDS: Final = Limits(1, 3_600)

#: The share of calls that may fail, and by how many seconds the others may be late.
FAILURES_LIMITS: Final = Limits(0, 1)
DELAY_LIMITS: Final = Limits(0, 60)


class Fault(NamedTuple):
    """What happens to one call before it reaches its remote.

    Args:
        fails: Whether it fails at once, and so never gets there.
        delay: By how many seconds it is late if it does not fail.
    """

    fails: bool
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Injection:
    """Faults that are injected into the calls of a circuit::

        Injection(failures=0.5, delay=2.0, until=now + 600).fault(now, random())

    Args:
        failures: The share of calls, from 0 to 1, that fails without reaching the remote.
        delay: Seconds by which the other calls are late.
        until: When it ends by itself, in seconds on the caller's clock.
    """

    failures: float
    delay: float
    until: float

    def is_under_way(self, now: float) -> bool:
        """Return whether it goes on at ``now``.

        One that would last longer than any may is from before the clock was set back.
        """
        return now < self.until <= now + INJECTION_SECONDS.most + CLOCK_SKEW

    def fault(self, now: float, chance: float) -> Fault | None:
        """Return what happens to a call at ``now``; None if nothing does.

        Args:
            chance: A random number in [0, 1).
        """
        if not self.is_under_way(now):
            return None
        if chance < self.failures:
            return Fault(fails=True)
        # A row may have been written without any check of its values.
        return Fault(False, min(self.delay, DELAY_LIMITS.most)) if self.delay > 0 else None

    @property
    def words(self) -> str:
        """What it does, in English, for the history: ``50% fail, the others are 2 s late``."""
        late = f"{self.delay:g} s late" if self.delay else ""
        if not self.failures:
            return f"all are {late}"
        fail = f"{self.failures * 100:.3g}% fail"
        return f"{fail}, the others are {late}" if late else fail


def under_way(injection: Injection | None, now: float) -> Injection | None:
    """Return an injection if it goes on at ``now``; None if there is none."""
    return injection if injection is not None and injection.is_under_way(now) else None
