"""Decides the outcome that several calls share if they ride on one permit."""

from __future__ import annotations

from typing import Generic, TypeVar

from .observers import CallOutcome

T = TypeVar("T")


class Shared(Generic[T]):
    """The one outcome of a permit that several calls share.

    A failure decides it at once; otherwise the end of the last call does: it is a success if any of
    the calls was one.

    Args:
        holder: The ticket of the outermost call.
    """

    __slots__ = ("calls", "holder", "is_good", "is_over")

    def __init__(self, holder: T) -> None:
        self.holder = holder
        self.calls = 1
        self.is_good = False
        self.is_over = False

    def hear(self, outcome: CallOutcome) -> CallOutcome | None:
        """Take the outcome of one of the calls; return the permit's outcome if this decides it."""
        self.calls -= 1
        self.is_good = self.is_good or outcome is CallOutcome.SUCCESS
        if self.is_over or (self.calls and outcome is not CallOutcome.FAILURE):
            return None
        self.is_over = True
        is_good = self.is_good and outcome is CallOutcome.IGNORED
        return CallOutcome.SUCCESS if is_good else outcome
