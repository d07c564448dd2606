"""Counts the calls of this process for metrics: by circuit, outcome and duration.

The counts are kept only while somebody reads them. They grow as long as the process lives,
whatever becomes of the circuits' gates, and begin at zero in a forked child. A call is counted
without a lock, in steps that the interpreter does not interrupt.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from itertools import count
from threading import RLock
from typing import Any, Final, NamedTuple

from .. import conf, once_a_minute
from ..signals import state_changed
from . import observers
from .observers import CallOutcome, Count

logger = logging.getLogger("circuits")

#: The upper bound of each bucket, in seconds: those that the semantic conventions advise for HTTP
#: clients, and the usual ones of Prometheus. One more bucket holds longer durations.
BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

#: The name under which all circuits beyond ``METRICS_CIRCUITS`` are counted together.
OTHERS: Final = "(others)"


class Ended(NamedTuple):
    """The calls that ended with one outcome.

    Args:
        calls: The number of calls in each bucket.
        seconds: The sum of their durations in each bucket.
    """

    calls: tuple[int, ...]
    seconds: tuple[float, ...]


class Read(NamedTuple):
    """What was counted for one circuit since the process began."""

    name: str
    ended: Mapping[CallOutcome, Ended]
    transitions: Mapping[tuple[str, str], int]


class _Buckets:
    """The calls of one outcome. Any thread may add one, but only one at a time may read."""

    __slots__ = ("_reads", "seconds", "ticks")

    def __init__(self) -> None:
        #: Each function ticks the counter of one bucket in a single step.
        self.ticks = [count().__next__ for _ in range(len(BOUNDS) + 1)]
        self.seconds = [0.0] * (len(BOUNDS) + 1)
        self._reads = 0

    def read(self) -> Ended:
        # Reading is a tick too, so the reads are subtracted.
        calls = tuple([tick() - self._reads for tick in self.ticks])
        self._reads += 1
        return Ended(calls, tuple(self.seconds))


class Counts:
    """What one circuit's calls came to in this process, or those of all circuits beyond the limit.

    Args:
        name: The circuit's name, or :data:`OTHERS`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._buckets: dict[CallOutcome, _Buckets] = {}
        self._transitions: Counter[tuple[str, str]] = Counter()

    def add(self, outcome: CallOutcome, seconds: float) -> None:
        """Count a call that has ended or was refused."""
        buckets = self._buckets.get(outcome)
        if buckets is None:
            buckets = self._buckets.setdefault(outcome, _Buckets())
        index = bisect_left(BOUNDS, seconds)
        buckets.ticks[index]()
        buckets.seconds[index] += seconds

    def add_transition(self, from_state: str, to_state: str) -> None:
        """Count a change of state. The caller holds the lock."""
        self._transitions[from_state, to_state] += 1

    def read(self) -> Read:
        """Return what was counted so far. The caller holds the lock."""
        ended = {outcome: each.read() for outcome, each in list(self._buckets.items())}
        return Read(self.name, ended, dict(self._transitions))


_readers: Final[dict[Hashable, Callable[[], bool]]] = {}
_counts: Final[dict[str, Counts]] = {}
_takers: Final[list[Callable[[], object]]] = []
# Reentrant, since the garbage collector may end an abandoned call in a thread that holds it.
_lock = RLock()


def keep(reader: Hashable, *, when: Callable[[], bool] = lambda: True) -> None:
    """Count calls for a reader, through each circuit from its next snapshot on.

    Args:
        when: Returns whether the reader reads; it is asked at each snapshot of a circuit.
    """
    _readers[reader] = when
    state_changed.connect(count_transition)


def drop(reader: Hashable) -> None:
    """Count no longer for a reader. What was counted remains."""
    _readers.pop(reader, None)


def of(name: str) -> Counts | None:
    """Return the counts of a circuit; None if nobody reads them."""
    if not any(is_reading() for is_reading in list(_readers.values())):
        return None
    return _counts.get(name) or _added(name)


def observer_of(name: str) -> Count | None:
    """Return what to call with the outcome and the duration of each call through a circuit.

    Return None if nobody wants to know.
    """
    counted = of(name)
    add = None if counted is None else counted.add
    return observers.notifier(name, add) if observers.listening() else add


def _added(name: str) -> Counts:
    with _lock:
        named = len(_counts) - (OTHERS in _counts)
        if name not in _counts and named >= conf.get().metrics_circuits:
            name = OTHERS
        return _counts.setdefault(name, Counts(name))


def count_transition(*, name: str, transition: Any, **_: Any) -> None:
    """Count a change of state, in the process that made it, and hand it over at once.

    It may be the only thing that happens in this process, which then never flushes.
    """
    counts = of(name)
    if counts is not None and transition.from_state != transition.to_state:
        with _lock:
            counts.add_transition(transition.from_state, transition.to_state)
        hand_over()


def read() -> list[Read]:
    """Return what this process has counted so far, by circuit."""
    with _lock:
        return [each.read() for each in list(_counts.values())]


def take_by(taker: Callable[[], object]) -> None:
    """Call a function that hands over what is counted at every flush and at the process's end."""
    if taker not in _takers:
        _takers.append(taker)


def take_no_more(taker: Callable[[], object]) -> None:
    """Call a function no more."""
    if taker in _takers:
        _takers.remove(taker)


def hand_over() -> None:
    """Call the functions that hand over what is counted; log what they raise."""
    for taker in _takers:
        try:
            taker()
        except Exception:
            if once_a_minute.is_due("counts"):
                logger.exception("Could not hand over the counts of calls; they are kept.")


def forget() -> None:
    """Start anew in a forked child, since the parent hands over its own."""
    global _lock
    _lock = RLock()
    _counts.clear()
