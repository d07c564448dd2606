"""Compares the ratios of a run with those of an earlier one.

Ratios are compared because times differ from machine to machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from .results import Ratio, Report

#: By which factor a ratio may grow before it counts as worse.
TOLERANCE: Final = 1.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """A ratio that has become worse."""

    name: str
    before: float
    now: float

    def __str__(self) -> str:
        return f"{self.name} was {self.before:.3g} and is {self.now:.3g}."


def regressions(now: Report, before: Report, tolerance: float = TOLERANCE) -> Iterator[Regression]:
    """Yield the ratios of a run that are worse than in an earlier one.

    Args:
        tolerance: By which factor a ratio may grow before it counts as worse.
    """
    earlier = before.ratios()
    for name, ratio in now.ratios().items():
        old = earlier.get(name)
        if old is not None and ratio.value > old.value * tolerance:
            yield Regression(name=name, before=old.value, now=ratio.value)


def lasting(tries: Iterable[Iterable[Regression]]) -> list[Regression]:
    """Return the regressions that all tries have in common, and stop trying once there is none.

    Each is returned as the mildest try showed it; the rest is blamed on the machine.
    """
    lasting: dict[str, Regression] | None = None
    for found in tries:
        names = {each.name: each for each in found}
        if lasting is None:
            lasting = names
        else:
            both = lasting.keys() & names.keys()
            lasting = {
                name: min(lasting[name], names[name], key=lambda each: each.now) for name in both
            }
        if not lasting:
            break
    return list((lasting or {}).values())


def missed(report: Report) -> dict[str, Ratio]:
    """Return the ratios that are over their limits, by name."""
    return {name: ratio for name, ratio in report.ratios().items() if ratio.is_missed}
