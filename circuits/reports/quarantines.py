"""The processes that alone cannot reach a remote, in words."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.translation import gettext as _

from ..core import conviction
from ..process import identity
from ..storage.rows import policy_of, status_of
from .readings import Reading


class Loner(NamedTuple):
    """A process that alone cannot reach a remote.

    Args:
        host: The name of its host.
        pid: Its process id.
        retry_in: Seconds until it tries again.
    """

    host: str
    pid: str
    retry_in: float


def loners(reading: Reading) -> list[Loner]:
    """Return the processes that alone cannot reach the remote of a circuit."""
    circuit, now = reading.circuit, reading.now
    if not circuit.quarantines:
        return []
    status = status_of(circuit)
    live = conviction.live_quarantines(status, policy_of(circuit), now)
    return [
        Loner(*identity.parts(each.process), conviction.remaining(each, now))
        for each in live
        if each.tries
    ]


def sentences(reading: Reading) -> list[str]:
    """Return a sentence about each process that alone cannot reach the remote."""
    sentence = _("worker %(pid)s on %(host)s alone cannot reach %(name)s; the others can")
    name = reading.circuit.name
    return [sentence % {**each._asdict(), "name": name} for each in loners(reading)]
