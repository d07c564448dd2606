"""Computes a circuit's states and modes over a period from its history. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Turn(NamedTuple):
    """A change of a circuit's state or mode; ``at`` is in seconds since 1970."""

    at: float
    from_state: str
    to_state: str
    from_mode: str
    to_mode: str


class Span(NamedTuple):
    """A period in which neither the state nor the mode changed, in seconds since 1970."""

    state: str
    mode: str
    since: float
    until: float

    @property
    def seconds(self) -> float:
        """The length of the period in seconds."""
        return self.until - self.since


def spans(changes: Sequence[Turn], state: str, mode: str, start: float, now: float) -> list[Span]:
    """Return the states and modes that a circuit was in from ``start`` to ``now``, without gaps.

    Args:
        changes: The changes in that period, in the order in which they were made. Earlier ones
            do no harm.
        state: The present state.
        mode: The present mode.
        start: The start of the period, in seconds since 1970.
        now: The end of the period, in seconds since 1970; not before ``start``.
    """
    joined: list[Span] = []
    for span in _pieces(changes, state, mode, start, now):
        if joined and joined[-1][:2] == span[:2]:
            joined[-1] = joined[-1]._replace(until=span.until)
        else:
            joined.append(span)
    return joined


def _pieces(
    changes: Sequence[Turn], state: str, mode: str, start: float, now: float
) -> Iterator[Span]:
    """Yield the periods between the changes, unless they are empty, and then the present one."""
    since, before = start, (changes[0].from_state, changes[0].from_mode) if changes else ("", "")
    for change, at in zip(changes, _moments(changes, start, now), strict=True):
        if at > since:
            yield Span(*before, since, at)
        since, before = at, (change.to_state, change.to_mode)
    yield Span(state, mode, since, now)


def _moments(changes: Sequence[Turn], start: float, now: float) -> list[float]:
    """Return the times of the changes in ascending order.

    If a clock was set back between two changes, the time of the later change is taken as right.
    """
    moments, latest = [], now
    for change in reversed(changes):
        latest = max(start, min(change.at, latest))
        moments.append(latest)
    return moments[::-1]
