"""A circuit for people and scripts: what it is doing now, and the ways to steer it."""

from __future__ import annotations

from collections.abc import Callable

from . import machine
from .breaker import operate, store
from .machine import Mode, State, Step
from .models import ACTOR_LENGTH
from .redaction import one_line
from .store import Note, Snapshot
from .validation import check_name


class CircuitHandle:
    """One circuit by name. Each property asks the store.

    The operations take ``actor``, who asks for it, and ``words``, what they say about it; both
    go into the history as far as there is room. They return whether anything changed.
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

    def force_open(self, *, actor: str = "", words: str = "") -> bool:
        """Refuse all calls until somebody sets it back."""
        return self._set_mode(Mode.FORCED_OPEN, actor, words)

    def force_closed(self, *, actor: str = "", words: str = "") -> bool:
        """Let all calls pass until somebody sets it back; failures are recorded."""
        return self._set_mode(Mode.FORCED_CLOSED, actor, words)

    def observe(self, *, actor: str = "", words: str = "") -> bool:
        """Run the state machine but refuse nothing, to see what the policy would do."""
        return self._set_mode(Mode.OBSERVE, actor, words)

    def automatic(self, *, actor: str = "", words: str = "") -> bool:
        """Go back to working by itself."""
        return self._set_mode(Mode.AUTOMATIC, actor, words)

    def _set_mode(self, mode: Mode, actor: str, words: str) -> bool:
        return self._operate(lambda now: machine.set_mode(now.status, mode, now.now), actor, words)

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
