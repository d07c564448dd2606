"""Reports the processes in quarantine: those that cannot reach a remote while others can."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.translation import gettext as _

from ..core import conviction
from ..process import identity
from ..storage.rows import policy_of, status_of
from .readings import Reading


class QuarantinedProcess(NamedTuple):
    """A process that cannot reach a remote while others can.

    Args:
        host: The name of its host.
        pid: Its process id.
        retry_in: Seconds until it tries again.
    """

    host: str
    pid: str
    retry_in: float


def quarantined_processes(reading: Reading) -> list[QuarantinedProcess]:
    """Return the processes that cannot reach a circuit's remote while others can."""
    circuit, now = reading.circuit, reading.now
    if not circuit.quarantines:
        return []
    status = status_of(circuit)
    live = conviction.live_quarantines(status, policy_of(circuit), now)
    return [
        QuarantinedProcess(*identity.parts(each.process), conviction.remaining(each, now))
        for each in live
        if each.tries
    ]


def sentences(reading: Reading) -> list[str]:
    """Return a sentence about each process that is in quarantine for a circuit."""
    sentence = _("worker %(pid)s on %(host)s alone cannot reach %(name)s; the others can")
    name = reading.circuit.name
    return [sentence % {**each._asdict(), "name": name} for each in quarantined_processes(reading)]
