"""Renews the views of all gates in use, with one statement."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import islice
from time import monotonic
from typing import Final

from .. import once_a_minute
from ..storage.failsafe import FailSafeStore
from . import asking, diagnosis, results
from .gate import Gate

logger = logging.getLogger("circuits")

#: The most circuits that one statement reads.
CHUNK: Final = 500


def renew(gates: Mapping[str, Gate], store: FailSafeStore) -> bool:
    """Renew the views of the gates in use; return whether there are any.

    While the database does not answer, only test whether it is back.
    """
    now = monotonic()
    used = [gate for gate in list(gates.values()) if gate.is_in_use(now)]
    if not used:
        return False
    diagnosis.notice(used)
    store.revive(used[0].name)
    if not store.is_left:
        rest = iter(used)
        while chunk := list(islice(rest, CHUNK)):
            _renew(chunk, store)
    return True


def _renew(chunk: list[Gate], store: FailSafeStore) -> None:
    snapshots = store.read_all([gate.name for gate in chunk])
    for gate in chunk:
        snapshot = snapshots.get(gate.name)
        if snapshot is None:
            continue  # the circuit was deleted, or the database has failed; the next call asks
        try:
            gate.take(snapshot)
            asking.testify(gate)
            results.end_run_owed(gate)
        except Exception:  # one circuit's trouble must not affect the others
            if once_a_minute.is_due("renewal"):
                logger.exception("Could not renew what is known of the circuit %s.", gate.name)
