"""Prunes the history, the counts of each minute, recordings, and idle members of families.

* A change is deleted once it is older than ``HISTORY_DAYS``, or once there are ``HISTORY_ROWS``
  newer ones. Two kinds are kept whatever their age: changes that wait in the outbox, and the last
  change of each circuit, which says why the circuit is in its state and who put it there.
* The counts of a minute are deleted once they are older than ``STATISTICS_DAYS``.
* So is a recording of calls, but no sooner than a day after its end.
* A member of a family that is still as its family made it is deleted once no call has used it for
  ``IDLE_DAYS``.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, Final

from django.db.models import OuterRef, Q, QuerySet, Subquery

from .. import conf
from ..models import Circuit, Minute, RecordedCalls, Recording, Transition
from ..moments import to_datetime
from ..reports.statistics import MINUTE_SECONDS
from ..storage.database import DatabaseStore
from ..storage.room import prune_idle

#: The most rows that one transaction deletes, so few that nobody waits long for it.
BATCH: Final = 500

#: Seconds after which a pass stops and leaves the rest to the next one.
PASS_SECONDS: Final = 300.0

DAY: Final = 86_400.0


def prune(store: DatabaseStore) -> int:
    """Delete the rows that need not be kept, the oldest first; return how many.

    Any number of processes may run it at once.
    """
    end = monotonic() + PASS_SECONDS
    changes = _stale_changes(store)
    return (
        _delete(
            Transition.objects.using(store.alias), lambda last: changes.filter(pk__gt=last), end
        )
        + _delete(Minute.objects.using(store.alias), lambda _: _stale_minutes(store), end)
        + _delete_recordings(store, end)
        + _delete_idle(store, end)
    )


def _delete_idle(store: DatabaseStore, end: float) -> int:
    """Delete idle members of families until ``end``; return how many."""
    total = 0
    while conf.get().idle_days and monotonic() < end:
        began = monotonic()
        deleted = prune_idle(store.alias, store.now())
        if not deleted:
            break
        total += deleted
        sleep(monotonic() - began)
    return total


def _delete_recordings(store: DatabaseStore, end: float) -> int:
    """Delete old recordings until ``end``, their batches first; return how many rows."""
    keys = list(_stale_recordings(store)[:BATCH])
    if not keys:
        return 0
    batches = RecordedCalls.objects.using(store.alias)
    stale = batches.filter(recording__in=keys).order_by("pk").values_list("pk", flat=True)
    recordings = Recording.objects.using(store.alias)
    empty = recordings.filter(pk__in=keys).values_list("pk", flat=True)
    return _delete(batches, lambda _: stale, end) + _delete(recordings, lambda _: empty, end)


def _delete(
    rows: QuerySet[Any], stale_after: Callable[[int], QuerySet[Any, int]], end: float
) -> int:
    """Delete rows until none is stale, or until ``end``.

    Args:
        stale_after: Returns the keys of stale rows, given the last key that was deleted.
        end: When to stop, in seconds on the monotonic clock.
    """
    total = last = 0
    while monotonic() < end:
        batch = list(stale_after(last)[:BATCH])
        if not batch:
            break
        last = batch[-1]
        began = monotonic()
        deleted, _ = rows.filter(pk__in=batch).delete()
        total += deleted
        # Leave other writers as much time again, since SQLite has one lock for all of them.
        sleep(monotonic() - began)
    return total


def _stale_changes(store: DatabaseStore) -> QuerySet[Transition, int]:
    """Return the primary keys of the changes to delete, the oldest first.

    Keys and times rise together, so a range of keys is enough to bound the rows that are read. The
    time is compared as well, because the clock may have been wrong for a while.
    """
    config = conf.get()
    before = to_datetime(store.now() - config.history_days * DAY)
    keys = Transition.objects.using(store.alias).values_list("pk", flat=True)
    too_old = keys.filter(at__lt=before).order_by("-at").first() or 0
    too_many = keys.order_by("-pk")[config.history_rows :].first() or 0
    # A subquery, since a database might begin a join with the circuits instead of the keys.
    circuit = Circuit.objects.using(store.alias).filter(pk=OuterRef("circuit_id")).order_by()
    return keys.filter(
        Q(at__lt=before) | Q(pk__lte=too_many),
        pk__lte=max(too_old, too_many),
        pending=False,
        generation__lt=Subquery(circuit.values("generation")),
    ).order_by("pk")


def _stale_recordings(store: DatabaseStore) -> QuerySet[Recording, int]:
    """Return the primary keys of the recordings to delete, also of deleted circuits.

    A recording lasts a week at most, so that of a deleted circuit grows old soon enough.
    """
    days = max(1, conf.get().statistics_days)
    before = to_datetime(store.now() - days * DAY)
    stale = Recording.objects.using(store.alias).filter(until__lt=before)
    return stale.order_by("until").values_list("pk", flat=True)


def _stale_minutes(store: DatabaseStore) -> QuerySet[Minute, int]:
    """Return the primary keys of the minutes to delete, the oldest first, in an index's order."""
    before = (store.now() - conf.get().statistics_days * DAY) // MINUTE_SECONDS
    minutes = Minute.objects.using(store.alias).filter(minute__lt=before).order_by("minute")
    return minutes.values_list("pk", flat=True)
