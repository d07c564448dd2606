"""The calls under way that the pulse looks after until they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

FOREVER: Final = float("inf")

#: Seconds between two looks at the calls, at least.
PAUSE: Final = 0.05


class Watched(Protocol):
    """A call that is looked at while it is under way."""

    #: When it is to be looked at next, on the monotonic clock.
    look_at: float


W = TypeVar("W", bound=Watched)


class Underway(Generic[W]):
    """A set of calls, each with the moment at which it is to be looked at next.

    Whoever takes a call out of the set reports what came of it, so it is reported once. No step
    needs a lock: each is a single one of the interpreter's.

    Args:
        look_by: Called with the moment by which somebody must look at the calls.
    """

    def __init__(self, look_by: Callable[[float], object] = lambda at: None) -> None:
        self._look_by = look_by
        self.forget()

    def forget(self) -> None:
        """Forget all calls: those of a parent are the parent's to report."""
        self._calls: dict[W, None] = {}

    def add(self, call: W, at: float) -> None:
        """Add a call that is to be looked at by then."""
        self._calls[call] = None
        self.look(call, at)

    def look(self, call: W, at: float) -> None:
        """Have a call looked at by then."""
        call.look_at = at
        self._look_by(at)

    def take(self, call: W) -> bool:
        """Take a call out; return whether it was still there."""
        return self._calls.pop(call, self) is None

    def due(self, now: float) -> list[W]:
        """Return the calls that are to be looked at by now."""
        return [call for call in list(self._calls) if call.look_at <= now]

    def next_look(self) -> float:
        """Return when the next call is to be looked at; infinity if none is."""
        return min((call.look_at for call in list(self._calls)), default=FOREVER)
