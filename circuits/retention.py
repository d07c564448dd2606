"""How long the history of the circuits and the counts of each minute are kept.

A change is deleted once it is older than ``HISTORY_DAYS``, or has ``HISTORY_ROWS`` newer ones
above it. Two kinds stay whatever their age: a change that people have yet to be told of, and the
last one of each circuit, because it says why the circuit stands as it does and who wanted it so.
The counts of a minute are deleted once they are older than ``STATISTICS_DAYS``.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, Final

from django.db.models import OuterRef, Q, QuerySet, Subquery

from . import conf
from .models import Circuit, Minute, Transition
from .rows import to_datetime
from .statistics import MINUTE
from .store import DatabaseStore

#: How many rows one transaction deletes: few enough that nobody waits long for it.
BATCH: Final = 500

#: Seconds after which a pass leaves the rest to the next one.
PASS_SECONDS: Final = 300.0

DAY: Final = 86_400.0


def prune(store: DatabaseStore) -> int:
    """Delete what is no longer kept, the oldest first.

    Returns:
        How many rows this pass has deleted. Safe to run any number of times at once.
    """
    end = monotonic() + PASS_SECONDS
    changes = _stale_changes(store)
    return _delete(
        Transition.objects.using(store.alias), lambda last: changes.filter(pk__gt=last), end
    ) + _delete(Minute.objects.using(store.alias), lambda _: _stale_minutes(store), end)


def _delete(
    rows: QuerySet[Any], stale_after: Callable[[int], QuerySet[Any, int]], end: float
) -> int:
    """Delete rows until none is stale or the time has come.

    Args:
        stale_after: Returns the keys of what is to go, given the last key that was deleted.
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
        # As long again for the others: SQLite has one lock for all who write.
        sleep(monotonic() - began)
    return total


def _stale_changes(store: DatabaseStore) -> QuerySet[Transition, int]:
    """Return the keys of what is to go, the oldest first.

    Keys and times rise together, so the keys alone bound what is read; the time is asked for
    all the same, for a clock that was once wrong.
    """
    config = conf.get()
    before = to_datetime(store.now() - config.history_days * DAY)
    keys = Transition.objects.using(store.alias).values_list("pk", flat=True)
    too_old = keys.filter(at__lt=before).order_by("-at").first() or 0
    too_many = keys.order_by("-pk")[config.history_rows :].first() or 0
    # Not by a join, which a database may begin with the circuits instead of the keys.
    circuit = Circuit.objects.using(store.alias).filter(pk=OuterRef("circuit_id")).order_by()
    return keys.filter(
        Q(at__lt=before) | Q(pk__lte=too_many),
        pk__lte=max(too_old, too_many),
        pending=False,
        generation__lt=Subquery(circuit.values("generation")),
    ).order_by("pk")


def _stale_minutes(store: DatabaseStore) -> QuerySet[Minute, int]:
    """Return the keys of what is to go, the oldest minutes first, by their index."""
    before = (store.now() - conf.get().statistics_days * DAY) // MINUTE
    minutes = Minute.objects.using(store.alias).filter(minute__lt=before).order_by("minute")
    return minutes.values_list("pk", flat=True)
