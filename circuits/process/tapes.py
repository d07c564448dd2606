"""Records the calls of this process for those circuits that somebody has asked to record.

While there are any, one observer hears of each call. If nothing is recorded, there is none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Final

from ..core.recording import Call, Ending
from ..storage.contract import Snapshot
from . import observers
from .observers import CallOutcome

#: The most calls of one circuit that wait to be written; the oldest are dropped.
MOST_HEARD: Final = 100_000

_ENDINGS: Final = {
    CallOutcome.SUCCESS: Ending.GOOD,
    CallOutcome.FAILURE: Ending.FAILED,
    CallOutcome.IGNORED: Ending.NOTHING,
    CallOutcome.REFUSED: Ending.REFUSED,
}


class Tape:
    """The calls of one circuit that this process has recorded and not written yet.

    Any thread may add one without a lock.

    Args:
        until: When the recording ends, on the monotonic clock.
    """

    def __init__(self, until: float) -> None:
        self.until = until
        self._heard: deque[Call] = deque(maxlen=MOST_HEARD)

    def hear(self, outcome: CallOutcome, seconds: float) -> None:
        """Record a call that has just ended."""
        now = monotonic()
        if now < self.until:
            self._heard.append(Call(now, seconds, _ENDINGS[outcome]))

    def take(self) -> list[Call]:
        """Take the recorded calls, in the order in which they ended."""
        taken = [self._heard.popleft() for _ in range(len(self._heard))]
        return sorted(taken)

    def give_back(self, calls: Sequence[Call]) -> None:
        """Keep calls that could not be written for the next time, as far as there is room."""
        room = MOST_HEARD - len(self._heard)
        self._heard.extendleft(reversed(calls[max(0, len(calls) - room) :]))


_tapes: Final[dict[str, Tape]] = {}


def hear(name: str, outcome: CallOutcome, seconds: float) -> None:
    """Record a call if its circuit is being recorded. This is the observer."""
    tape = _tapes.get(name)
    if tape is not None:
        tape.hear(outcome, seconds)


def of(name: str) -> Tape | None:
    """Return the tape of a circuit, if there is one."""
    return _tapes.get(name)


def any_runs() -> bool:
    """Return whether any circuit is being recorded, or has recorded calls to write."""
    return bool(_tapes)


def follow(snapshot: Snapshot) -> None:
    """Begin or stop recording a circuit's calls, as its row says."""
    if not snapshot.is_shared:
        return
    name, until = snapshot.name, snapshot.recorded_until
    left = 0.0 if until is None else until - snapshot.now
    tape = _tapes.get(name)
    if left > 0:
        tape = tape or _tapes.setdefault(name, Tape(0.0))
        tape.until = snapshot.read_at + left
        observers.add(hear)
    elif tape is not None:
        end(name)


def end(name: str) -> None:
    """Stop recording a circuit's calls. Those recorded so far will still be written."""
    tape = _tapes.get(name)
    if tape is not None:
        tape.until = 0.0
    now = monotonic()
    if not any(now < each.until for each in list(_tapes.values())):
        observers.remove(hear)


def drop(name: str) -> None:
    """Forget a circuit's tape."""
    end(name)
    _tapes.pop(name, None)


def forget() -> None:
    """Forget all tapes, in a forked child and between tests."""
    for name in list(_tapes):
        drop(name)
