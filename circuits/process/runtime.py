"""Wires this process's gates, stores and threads together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.db import connections

from .. import exceptions, once_a_minute
from ..core import machine
from ..storage import testruns
from ..storage.contract import Snapshot
from ..storage.database import DatabaseStore
from ..storage.failsafe import FailSafeStore
from ..storage.memory import MemoryStore
from ..validation import check_name
from . import (
    counts,
    diagnosis,
    flushing,
    forks,
    identity,
    patience,
    recording,
    renewal,
    tapes,
    tending,
    threads,
)
from .endings import at_end
from .gate import Gate, Ticket
from .gates import Gates
from .pulse import Pulse
from .standing import standing_of
from .underway import Underway
from .workers import Workers

#: This process's gates, by the circuit's name.
gates: Final = Gates()

workers: Final = Workers(lambda asked_at: patience.is_over(asked_at, pulse))

exceptions.ask_for_standing(lambda name: standing_of(_recall(name)))


def _recall(name: str) -> Snapshot | None:
    known = gates.get(name)
    return known.snapshot if known is not None else None


def _patiently(work: Callable[[], Any]) -> Any:
    """Do work that asks the circuits' database, and stop waiting if no answer comes."""
    return work() if _asks_itself() else patience.answer_of(work, workers, pulse)


def _asks_itself() -> bool:
    """Return whether the calling thread should ask the database itself."""
    connection = connections[store.shared.alias]
    # SQLite never falls silent, and other threads do not see the changes of this one's transaction.
    # Nor is there another thread to ask if threads do not run, or if this already is a worker.
    is_near = connection.vendor == "sqlite" or connection.in_atomic_block
    return is_near or workers.is_one() or not pulse.is_running()


def _is_silent() -> bool:
    return pulse.is_silent()


def _renew() -> bool:
    forks.notice()
    return renewal.renew(gates, store)


def _flush_in_background() -> None:
    if not testruns.is_on():  # tallies of tests are not kept, and a test may lock the database
        flushing.flush_in_background(flush)


def _tend() -> float:
    forks.notice()
    return tending.tend(underway)


store: Final = FailSafeStore(
    DatabaseStore(),
    MemoryStore(_recall),
    prepare=forks.notice,
    patiently=_patiently,
    is_silent=_is_silent,
)

pulse: Final[Pulse] = Pulse(
    renew=_renew, flush=_flush_in_background, submit=workers.submit, tend=_tend
)

#: The calls of this process that the pulse looks after.
underway: Final[Underway[Ticket]] = Underway(pulse.tend_by)


def gate(name: str) -> Gate:
    """Return this process's gate of a circuit, in the database that the alias now leads to."""
    home = testruns.database(store.shared.alias)
    found = gates.get(name)
    if found is not None and found.home == home:
        return found
    if found is not None:
        forget()  # everything known is about another database
    own = Gate(check_name(name), store, pulse, home, underway, identity.own())
    found = gates.add(own)
    if not testruns.is_on():
        pulse.ensure_running()
    return found


def opening_of(name: str) -> int | None:
    """Return the generation in which a circuit last opened, as far as this process knows.

    It stays the same when the circuit opens again after a trial. None means an unknown circuit.
    """
    snapshot = _recall(name)
    return None if snapshot is None else machine.opening_of(snapshot.status)


def flush() -> None:
    """Write the outcomes that this process has gathered to the database, and hand over its counts.

    Raises:
        django.db.Error: The database does not answer. Nothing is lost; the next flush tries again.
    """
    forks.notice()
    counts.hand_over()
    gates.keep_only(testruns.database(store.shared.alias))
    with gates.all_of_them() as all_gates:
        flushing.flush(all_gates, store)
        recording.write(all_gates, store.shared.alias)


@testruns.forgets
def forget() -> None:
    """Forget everything this process knows about circuits, unwritten tallies included."""
    gates.forget()
    tapes.forget()
    store.forget()
    once_a_minute.forget()
    diagnosis.forget()


def forget_gate(name: str) -> None:
    """Forget what this process knows about one circuit, unwritten tallies included."""
    gates.pop(name, None)


def _end() -> None:
    forks.notice()  # in a child, the tallies in memory are the parent's to write
    pulse.stop()
    counts.hand_over()


forks.in_child(
    identity.forget,
    forget,
    counts.forget,
    threads.forget,
    workers.forget,
    testruns.forget,
    pulse.forget,
    underway.forget,
)
at_end(_end, pulse.has_thread)
