"""Writes the tallies of all gates to the database, in one transaction and in a fixed order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from time import monotonic
from typing import Final, NamedTuple

from django.db import Error

from .. import conf, once_a_minute
from ..core import latency
from ..core.budget import Spending
from ..core.status import Batch
from ..storage.announce import announce
from ..storage.contract import SharedStore, Tally
from ..storage.errors import InDoubtError, is_bad_value
from . import results
from .gate import Gate
from .tallies import OwnWindow, Taken

logger = logging.getLogger("circuits")

#: The most circuits that one transaction writes.
CHUNK: Final = 500

#: How many circuits may fail by an outage before a flush gives up.
OUTAGES: Final = 2


class Gathered(NamedTuple):
    """The tallies taken from one gate to be written.

    Args:
        batch: The window of the strategy, the outcomes taken from it, and their batch.
        spending: The calls and retries taken for the budget of retries.
    """

    gate: Gate
    tally: Tally
    taken: Taken | None
    batch: tuple[OwnWindow, str, Batch] | None
    spending: Spending | None

    def give_back(self) -> None:
        """Return everything to the gate, for the next flush."""
        tallies = self.gate.tallies
        if self.taken is not None:
            tallies.give_back(self.taken)
        if self.batch is not None:
            window, heard, _ = self.batch
            tallies.give_back_batch(window, heard, monotonic())
        if self.spending is not None:
            tallies.give_back_spending(self.spending)


def flush(gates: Iterable[Gate], store: SharedStore) -> None:
    """Write what the gates have gathered, in one transaction.

    If the transaction fails, each circuit is written by itself. One that cannot be written keeps
    its tallies for the next flush.

    Raises:
        InDoubtError: The connection was lost during a commit. Tallies that may have been written
            are not written again.
        django.db.Error: The database does not answer. Nothing is lost.
        Exception: Another error kept a circuit from being written; its note names the circuit.
            Several such errors are raised as a group.
    """
    # Circuits that failed the last time come last, so that they do not hold up the others.
    well, troubled = _sorted(gates)
    rest = iter([*_chunks(well), *([each] for each in troubled)])
    troubles: list[Exception] = []
    try:
        for chunk in rest:
            troubles += _written(chunk, store)
            if sum(map(_is_outage, troubles)) >= OUTAGES:
                break
    finally:
        for chunk in rest:
            for each in chunk:
                each.give_back()
    if troubles:
        raise _together(troubles)


def _sorted(gates: Iterable[Gate]) -> tuple[list[Gathered], list[Gathered]]:
    """Return the tallies of the gates by name, and apart those that failed the last time."""
    well: list[Gathered] = []
    troubled: list[Gathered] = []
    for gate in sorted(gates, key=attrgetter("name")):
        gathered = _gather(gate)
        if gathered is not None:
            (troubled if gate.is_troubled else well).append(gathered)
    return well, troubled


def _written(chunk: Sequence[Gathered], store: SharedStore) -> list[Exception]:
    """Write a chunk, or each circuit by itself if that fails; return the errors."""
    try:
        _write(chunk, store)
    except InDoubtError:
        raise
    except Exception as error:
        if len(chunk) == 1:
            return [_trouble(chunk[0], error)]
    else:
        return []
    troubles: list[Exception] = []
    alone = iter(chunk)
    try:
        for each in alone:
            troubles += _written([each], store)
            # A single error may come from a row that is locked. A second one means that the whole
            # database is away, and that each further try would wait for it.
            if sum(map(_is_outage, troubles)) >= OUTAGES:
                break
    finally:
        for each in alone:
            each.give_back()
    return troubles


def _write(chunk: Sequence[Gathered], store: SharedStore) -> None:
    changes = store.flush([each.tally for each in chunk])
    for each, changed in zip(chunk, changes, strict=True):
        each.gate.is_troubled = False
        if changed is not None:
            each.gate.take(changed.after)
            announce(changed)


def _trouble(gathered: Gathered, error: Exception) -> Exception:
    gathered.give_back()
    gathered.gate.is_troubled = True
    error.add_note(f"The circuit is {gathered.gate.name}.")
    return error


def _is_outage(error: Exception) -> bool:
    return isinstance(error, Error) and not is_bad_value(error)


def _together(troubles: list[Exception]) -> Exception:
    """Return the error to raise. An outage comes last, since the store has logged it already."""
    unforeseen = [error for error in troubles if not _is_outage(error)]
    if len(unforeseen) > 1:
        return ExceptionGroup("Several circuits could not be written down.", unforeseen)
    return unforeseen[0] if unforeseen else troubles[0]


def flush_in_background(flush: Callable[[], None]) -> None:
    """Flush, and log errors except outages, which the store has logged already."""
    try:
        flush()
    except Exception as error:
        if not _is_outage(error) and once_a_minute.is_due("flush"):
            logger.exception(
                "Could not write down all successes and refusals; they are kept for the next "
                "time, and all other circuits are written."
            )


def _gather(gate: Gate) -> Gathered | None:
    snapshot, now = gate.snapshot, monotonic()
    window = gate.tallies.window
    batch = None
    if window is not None and snapshot is not None:
        if window.is_shared:
            settle = conf.get().flush_seconds
            batch = gate.tallies.take_batch(snapshot.policy, now, settle, gate.witness)
        else:
            results.merge(gate)
    spending = None if snapshot is None else gate.tallies.take_spending(snapshot.policy, now)
    taken = gate.tallies.take()
    if taken is None and batch is None and spending is None:
        return None
    tally = Tally(
        name=gate.name,
        at=gate.view.shared_time(now),
        successes=taken.successes if taken else 0,
        failures=taken.failures if taken else 0,
        refused=taken.refused if taken else {},
        last_success_at=gate.view.shared_time(taken.succeeded_at) if taken else None,
        process=gate.process,
        batch=batch[2] if batch else None,
        durations=taken.durations if taken else latency.EMPTY,
        spending=spending,
    )
    return Gathered(gate, tally, taken, batch, spending)


def _chunks(gathered: Sequence[Gathered]) -> Iterator[Sequence[Gathered]]:
    for start in range(0, len(gathered), CHUNK):
        yield gathered[start : start + CHUNK]
