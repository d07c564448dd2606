"""A circuit for people and scripts: what it is doing now, and the ways to steer it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from . import machine
from .breaker import operate, store
from .machine import LONGEST, Limits, Mode, State, Step, check_number
from .models import ACTOR_LENGTH
from .redaction import one_line
from .store import Note, Snapshot
from .validation import check_name

#: How long a mode may be set for, in seconds.
MODE_SECONDS: Final = Limits(1, LONGEST)


class CircuitHandle:
    """One circuit by name. Each property asks the store.

    The operations take ``actor``, who asks for it, and ``words``, what they say about it; both
    go into the history as far as there is room. Those that set a mode take ``seconds``, after which
    the circuit goes back to automatic by itself; without, it stays until somebody sets it back.
    They return whether anything changed.
    """

    def __init__(self, name: str) -> None:
        self.name = check_name(name)

    def __repr__(self) -> str:
        return f"circuits.get({self.name!r})"

    @property
    def state(self) -> State:
        """``closed``, ``open`` or ``half_open``."""
        return self._read().status.state

    @property
    def mode(self) -> Mode:
        """``automatic``, ``forced_open``, ``forced_closed`` or ``observe``."""
        return self._read().status.mode

    @property
    def retry_after(self) -> float:
        """Seconds until a call may be let through; 0 if one would be now."""
        now = self._read()
        admission = machine.admit(now.status, now.policy, now.now, "")
        return 0.0 if admission.permit else admission.retry_after or 0.0

    def reset(self, *, actor: str = "", words: str = "") -> bool:
        """Close the circuit and forget its failures. A forced_open circuit stays as it is."""
        return self._operate(lambda now: machine.reset(now.status, now.now), actor, words)

    def force_open(self, *, actor: str = "", words: str = "", seconds: float | None = None) -> bool:
        """Refuse all calls until somebody sets it back, or for so many seconds."""
        return self._set_mode(Mode.FORCED_OPEN, actor, words, seconds)

    def force_closed(
        self, *, actor: str = "", words: str = "", seconds: float | None = None
    ) -> bool:
        """Let all calls pass, as long; failures are recorded."""
        return self._set_mode(Mode.FORCED_CLOSED, actor, words, seconds)

    def observe(self, *, actor: str = "", words: str = "", seconds: float | None = None) -> bool:
        """Run the state machine but refuse nothing, to see what the policy would do."""
        return self._set_mode(Mode.OBSERVE, actor, words, seconds)

    def automatic(self, *, actor: str = "", words: str = "") -> bool:
        """Go back to working by itself."""
        return self._set_mode(Mode.AUTOMATIC, actor, words)

    def _set_mode(self, mode: Mode, actor: str, words: str, seconds: float | None = None) -> bool:
        if seconds is not None:
            check_number("seconds", seconds, MODE_SECONDS, whole=False)

        def decide(row: Snapshot) -> Step:
            until = None if seconds is None else row.now + seconds
            return machine.set_mode(row.status, mode, row.now, until)

        return self._operate(decide, actor, words)

    def _read(self) -> Snapshot:
        store.revive(self.name)
        return store.read(self.name)

    def _operate(self, decide: Callable[[Snapshot], Step], actor: str, words: str) -> bool:
        note = Note(actor=one_line(actor, ACTOR_LENGTH), words=one_line(words))
        return operate(self.name, decide, note)


def get(name: str) -> CircuitHandle:
    """Return a handle on the circuit, which is made at its first use.

    Raises:
        InvalidInputError: The name cannot be a circuit's.
    """
    return CircuitHandle(name)
