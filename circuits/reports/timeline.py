"""Computes a circuit's states and modes over a period from its history; pure, without a clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Turn(NamedTuple):
    """A change of a circuit's state or mode, at so many seconds since 1970."""

    at: float
    from_state: str
    to_state: str
    from_mode: str
    to_mode: str


class Span(NamedTuple):
    """A time, in seconds since 1970, in which neither the state nor the mode changed."""

    state: str
    mode: str
    since: float
    until: float

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.until - self.since


def spans(changes: Sequence[Turn], state: str, mode: str, start: float, now: float) -> list[Span]:
    """Return what a circuit was in from ``start`` to ``now``, without a gap.

    Args:
        changes: Its changes in that time, in the order in which they were made. Those from before
            do no harm.
        state: The state it is in now.
        mode: The mode it is in now.
        start: Seconds since 1970.
        now: Seconds since 1970, not before ``start``.
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
    """What lasted between two changes, if it lasted at all; at the end what there is now."""
    since, before = start, (changes[0].from_state, changes[0].from_mode) if changes else ("", "")
    for change, at in zip(changes, _moments(changes, start, now), strict=True):
        if at > since:
            yield Span(*before, since, at)
        since, before = at, (change.to_state, change.to_mode)
    yield Span(state, mode, since, now)


def _moments(changes: Sequence[Turn], start: float, now: float) -> list[float]:
    """When the changes were made, in order: where a clock was set back, the later one is right."""
    moments, latest = [], now
    for change in reversed(changes):
        latest = max(start, min(change.at, latest))
        moments.append(latest)
    return moments[::-1]
