"""How long the history of the circuits is kept.

A change is deleted once it is older than ``HISTORY_DAYS``, or has ``HISTORY_ROWS`` newer ones
above it. Two kinds stay whatever their age: a change that people have yet to be told of, and the
last one of each circuit, because it says why the circuit stands as it does and who wanted it so.
"""

from __future__ import annotations

from time import monotonic, sleep
from typing import Final

from django.db.models import OuterRef, Q, QuerySet, Subquery

from . import conf
from .models import Circuit, Transition
from .rows import to_datetime
from .store import DatabaseStore

#: How many rows one transaction deletes: few enough that nobody waits long for it.
BATCH: Final = 500

#: Seconds after which a pass leaves the rest to the next one.
PASS_SECONDS: Final = 300.0

DAY: Final = 86_400.0


def prune(store: DatabaseStore) -> int:
    """Delete the changes that are no longer kept, the oldest first.

    Returns:
        How many this pass has deleted. Safe to run any number of times at once.
    """
    end = monotonic() + PASS_SECONDS
    stale = _stale(store)
    total = last = 0
    while monotonic() < end:
        batch = list(stale.filter(pk__gt=last)[:BATCH])
        if not batch:
            break
        last = batch[-1]
        began = monotonic()
        deleted, _ = _rows(store).filter(pk__in=batch).delete()
        total += deleted
        # As long again for the others: SQLite has one lock for all who write.
        sleep(monotonic() - began)
    return total


def _rows(store: DatabaseStore) -> QuerySet[Transition]:
    return Transition.objects.using(store.alias)


def _stale(store: DatabaseStore) -> QuerySet[Transition, int]:
    """Return the keys of what is to go, the oldest first.

    Keys and times rise together, so the keys alone bound what is read; the time is asked for
    all the same, for a clock that was once wrong.
    """
    config = conf.get()
    before = to_datetime(store.now() - config.history_days * DAY)
    keys = _rows(store).values_list("pk", flat=True)
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
