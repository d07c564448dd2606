"""Suggests an operation on the page of a circuit, if one would help."""

from __future__ import annotations

from typing import Final, NamedTuple

from django.utils.translation import gettext as _

from ..core.status import Mode, State
from ..reports.readings import Reading
from ..reports.verdict import FLAPPING, NO_EVIDENCE, Evidence

#: If the next trial is at least this many seconds away, the page says that nobody has to wait.
LONG_WAIT: Final = 60.0


class Advice(NamedTuple):
    """A suggestion on the page of a circuit.

    Args:
        key: The suggested operation, a key of
            :data:`circuits.steering.operations.OPERATIONS`; empty for none.
        words: One or two sentences; empty if there is nothing to say.
    """

    key: str = ""
    words: str = ""


def advice(reading: Reading, evidence: Evidence = NO_EVIDENCE) -> Advice:
    """Return which operation would help a circuit at present, and why."""
    circuit = reading.circuit
    if circuit.mode != Mode.AUTOMATIC:
        return _of_mode(Mode(circuit.mode))
    if circuit.state == State.OPEN:
        return _of_open(reading)
    if circuit.state == State.HALF_OPEN:
        return Advice("", _("Nothing has to be pressed: the trial calls decide."))
    if evidence.openings >= FLAPPING:
        words = _(
            "It opens again and again. If the remote needs rest, force it open for an hour; if the "
            "remote is well, the policy is too strict."
        )
        return Advice("force_open", words)
    return Advice()


def _of_mode(mode: Mode) -> Advice:
    if mode is Mode.OBSERVE:
        return Advice("", _("Put it back to automatic once you trust its policy."))
    words = {
        Mode.FORCED_OPEN: _(
            "Put it back to automatic once the reason for this is over: the next call is then let "
            "through to try."
        ),
        Mode.FORCED_CLOSED: _(
            "Nothing protects the callers. Put it back to automatic unless you know that the "
            "failures are no outage."
        ),
    }[mode]
    return Advice("automatic", words)


def _of_open(reading: Reading) -> Advice:
    wait = reading.retry_in or 0.0
    if wait >= LONG_WAIT:
        words = _("It tries the remote by itself. If you think that it is well again, try now.")
        return Advice("try_now", words)
    if wait or not reading.circuit.probe_url:
        return Advice("", _("Nothing has to be pressed: it tries the remote by itself."))
    return Advice("probe", _("No call has come yet to try the remote: probe it."))
