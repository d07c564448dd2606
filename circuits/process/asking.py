"""Asks the store what a gate cannot answer from memory, and has it change the circuit.

If several threads need an answer about one circuit, one of them asks, and the others share the
answer.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TypeVar
from uuid import uuid4

from .. import conf
from ..core import machine
from ..core.status import Batch, Permit, Step
from ..exceptions import CircuitBusyError
from ..storage.announce import announce
from ..storage.contract import NO_NOTE, Changed, Note, Snapshot
from .gate import Gate, Ticket, random

S = TypeVar("S", bound=Step)


def admit(gate: Gate) -> Ticket:
    """Return a ticket to make a call, from memory or from the store.

    Raises:
        CircuitOpenError: The circuit refuses calls for now.
    """
    return gate.admit_in_memory() or gate.admit_by(current(gate)) or _claim(gate)


def _claim(gate: Gate) -> Ticket:
    """Ask the store for a trial, unless another thread's answer has decided meanwhile."""
    _revive(gate)
    with gate.asking:
        view = gate.view
        if view.snapshot is not None and monotonic() < view.fresh_until:
            ticket = gate.admit_by(view.snapshot)
            if ticket is not None:
                return ticket
        witness = gate.witness
        changed = _change(
            gate,
            lambda row: machine.admit(
                row.status, row.policy, row.now, uuid4().hex, random.random(), witness
            ),
        )
    announce(changed)
    try:
        return gate.answer(changed.step, changed.after)
    except CircuitBusyError:
        if changed.step.permit is not None:
            release(gate, changed.step.permit)
        raise


def release(gate: Gate, permit: Permit) -> None:
    """Give the lease of a permit back, if it has one."""
    if permit.lease is not None:
        change(gate, lambda row: machine.release(row.status, permit))


def current(gate: Gate) -> Snapshot:
    """Return the current snapshot. Of several threads that want it, one asks the store."""
    _revive(gate)
    if not conf.get().snapshot_seconds:
        return _look(gate)
    with gate.asking:
        view = gate.view
        if view.snapshot is not None and monotonic() < view.fresh_until:
            return view.snapshot
        snapshot = gate.take(gate.store.read(gate.name))
    gate.keep_up()
    return snapshot


def _look(gate: Gate) -> Snapshot:
    """Ask the store by the cheapest query that tells whether anything has changed."""
    view = gate.view
    # While failures are being counted, the row has most likely changed.
    known = None if view.is_counting else view.snapshot
    snapshot = gate.store.read(gate.name, known)
    return snapshot if snapshot is known else gate.take(snapshot)


def change(gate: Gate, decide: Callable[[Snapshot], S], note: Note = NO_NOTE) -> None:
    """Change the circuit by ``decide`` under its row lock, and take over the result."""
    _revive(gate)
    with gate.asking:
        changed = _change(gate, decide, note)
    # Not under the lock, since receivers of the signal may call through this gate.
    announce(changed)


def _change(gate: Gate, decide: Callable[[Snapshot], S], note: Note = NO_NOTE) -> Changed[S]:
    changed = gate.store.change(gate.name, decide, note)
    gate.take(changed.after)
    return changed


def merge(gate: Gate, batch: Batch, note: Note, *, is_shared: bool) -> Changed[Step] | None:
    """Merge a batch of outcomes into the circuit; return None if the store does not answer."""

    def decide(row: Snapshot) -> Step:
        return machine.merge(row.status, row.policy, row.now, batch)

    _revive(gate)
    with gate.asking:
        if not is_shared:
            return _change(gate, decide, note)
        changed = gate.store.merge(gate.name, decide, note)
        if changed is not None:
            gate.take(changed.after)
    return changed


def testify(gate: Gate) -> None:
    """Change the circuit if this process's outcomes decide it. The pulse calls this."""
    snapshot, witness = gate.snapshot, gate.witness
    if snapshot is None:
        return
    now = snapshot.time(monotonic())
    step = machine.testify(snapshot.status, snapshot.policy, now, witness)
    if step.status is not snapshot.status:
        change(gate, lambda row: machine.testify(row.status, row.policy, row.now, witness))


def _revive(gate: Gate) -> None:
    """Try a failed database again, unless the pulse does so in the background."""
    if not gate.is_renewed():
        gate.store.revive(gate.name)
