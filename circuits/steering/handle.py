"""A handle on one circuit, by which people and scripts read its state and steer it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .. import conf
from ..core import machine
from ..core.injection import (
    DELAY_LIMITS,
    FAILURES_LIMITS,
    INJECTION_SECONDS,
    Injection,
    under_way,
)
from ..core.policy import LONGEST, Limits, check_number
from ..core.status import Mode, State, Step
from ..exceptions import InvalidInputError, ModeChangedError
from ..exceptions import gettext_noop as _
from ..models import ACTOR_LENGTH
from ..process.runtime import gates, store
from ..redaction import one_line, redact_line
from ..storage.announce import announce
from ..storage.contract import Note, Snapshot
from ..storage.database import new_circuit
from ..validation import check_name
from .probe import ProbeResult, probe

NOTHING_INJECTED: Final = _("Give failures, a delay or both: nothing would be injected.")

#: How long a mode may be set for, in seconds.
MODE_SECONDS: Final = Limits(1, LONGEST)


class CircuitHandle:
    """One circuit, to look at and to steer::

        payments = circuits.get("payments")
        if payments.state == "open":
            payments.force_closed(actor="ann", reason="their status page is green", seconds=600)

    Each property asks the store. Looking at a circuit does not make it: one that was never used is
    closed. Steering one that does not exist raises :class:`circuits.UnknownCircuitError`, unless
    settings or code name it.

    Each operation takes ``actor``, the person or program that asks for it, and ``reason``, the
    reason they give. Both go into the history, cut to the length of its columns. An operation that
    sets a mode takes ``seconds``, after which the circuit goes back to automatic; without it, the
    mode stays until somebody sets it back. It returns whether anything changed.

    Args:
        name: The circuit's name.
        seen: The mode that the actor has seen. If the circuit is in another mode by now, an
            operation does nothing and raises :class:`~circuits.exceptions.ModeChangedError`.
            None does not check.
    """

    def __init__(self, name: str, *, seen: Mode | None = None) -> None:
        self.name = check_name(name)
        self._seen = seen

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
    def injection(self) -> Injection | None:
        """The faults that are injected at present, with the database's time at which they end.

        None if there are none.
        """
        now = self._read()
        return under_way(now.status.injection, now.now)

    @property
    def retry_after(self) -> float:
        """Seconds until a call may be let through; 0 if one would be now."""
        now = self._read()
        admission = machine.admit(now.status, now.policy, now.now, "")
        return 0.0 if admission.permit else admission.retry_after or 0.0

    def try_now(self, *, actor: str = "", reason: str = "") -> bool:
        """Let the next call try an open circuit at once. A forced_open circuit stays as it is."""
        return self._operate(lambda now: machine.try_now(now.status, now.now), actor, reason)

    def reset(self, *, actor: str = "", reason: str = "") -> bool:
        """Close the circuit and forget its failures. A forced_open circuit stays as it is."""
        return self._operate(lambda now: machine.reset(now.status, now.now), actor, reason)

    def force_open(
        self, *, actor: str = "", reason: str = "", seconds: float | None = None
    ) -> bool:
        """Refuse every call for ``seconds``, or until somebody sets the circuit back."""
        return self._set_mode(Mode.FORCED_OPEN, actor, reason, seconds)

    def force_closed(
        self, *, actor: str = "", reason: str = "", seconds: float | None = None
    ) -> bool:
        """Let every call pass for ``seconds``, or until somebody sets it back; record failures."""
        return self._set_mode(Mode.FORCED_CLOSED, actor, reason, seconds)

    def observe(self, *, actor: str = "", reason: str = "", seconds: float | None = None) -> bool:
        """Run the state machine but refuse nothing, to see what the policy would do."""
        return self._set_mode(Mode.OBSERVE, actor, reason, seconds)

    def automatic(self, *, actor: str = "", reason: str = "") -> bool:
        """Let the state machine decide again."""
        return self._set_mode(Mode.AUTOMATIC, actor, reason)

    def inject(
        self,
        *,
        failures: float = 0.0,
        delay: float = 0.0,
        seconds: float = 600,
        actor: str = "",
        reason: str = "",
    ) -> bool:
        """Let calls fail or be late for ``seconds``, to try out what the site then does::

            circuits.get("payments").inject(failures=0.5, delay=2, seconds=300)

        A call that fails does not reach its remote. The faults take the place of those that were
        injected before, and end by themselves.

        Args:
            failures: The share of calls that fails, from 0 to 1.
            delay: Seconds by which the other calls are late, up to 60.
            seconds: For how long, up to 3600.

        Raises:
            InvalidInputError: The settings do not allow it, a value is out of range, or nothing
                would be injected.
        """
        check_may_inject()
        check_number("failures", failures, FAILURES_LIMITS, whole=False)
        check_number("delay", delay, DELAY_LIMITS, whole=False)
        check_number("seconds", seconds, INJECTION_SECONDS, whole=False)
        if not failures and not delay:
            raise InvalidInputError(NOTHING_INJECTED)

        def faults(now: float) -> Injection:
            return Injection(float(failures), float(delay), now + seconds)

        said = ": ".join(filter(None, [faults(0.0).words, reason]))
        return self._operate(
            lambda row: machine.inject(row.status, faults(row.now), row.now), actor, said
        )

    def stop_injection(self, *, actor: str = "", reason: str = "") -> bool:
        """End the injected faults at once."""
        said = ": ".join(filter(None, ["ended", reason]))
        return self._operate(lambda row: machine.inject(row.status, None, row.now), actor, said)

    def probe(self, url: str | None = None) -> ProbeResult:
        """Make a GET request through the circuit at once; it counts like any other call.

        Args:
            url: Where to call; the circuit's ``probe_url`` by default.
        """
        return probe(self.name, url)

    def _set_mode(self, mode: Mode, actor: str, reason: str, seconds: float | None = None) -> bool:
        if seconds is not None:
            check_number("seconds", seconds, MODE_SECONDS, whole=False)

        def decide(row: Snapshot) -> Step:
            until = None if seconds is None else row.now + seconds
            return machine.set_mode(row.status, mode, row.now, until)

        return self._operate(decide, actor, reason)

    def _read(self) -> Snapshot:
        store.revive(self.name)
        return store.find(self.name) or new_circuit(self.name, now=0.0)

    def _operate(self, decide: Callable[[Snapshot], Step], actor: str, reason: str) -> bool:
        def decide_as_seen(row: Snapshot) -> Step:
            # Checked under the row's lock, so that of two people the second one gets the error.
            if self._seen not in (None, row.status.mode):
                raise ModeChangedError(self.name, self._seen, row.status.mode)
            return decide(row)

        note = Note(actor=one_line(actor, ACTOR_LENGTH), reason=redact_line(reason))
        changed = store.steer(self.name, decide_as_seen, note)
        known = gates.get(self.name)
        if known is not None:
            known.expire()
        announce(changed)
        return changed.happened


def check_may_inject() -> None:
    """Check that the settings allow faults to be injected.

    Raises:
        InvalidInputError: They do not.
    """
    if not conf.get().allow_injection:
        raise InvalidInputError(
            _(
                "No faults may be injected here. Set CIRCUITS['ALLOW_INJECTION'] to True where "
                "calls may fail on purpose, such as in staging."
            )
        )


def get(name: str) -> CircuitHandle:
    """Return a handle on the circuit, which its first call makes.

    Raises:
        InvalidInputError: The name cannot be a circuit's.
    """
    return CircuitHandle(name)
