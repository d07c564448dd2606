"""The Celery tasks. Circuits work without them, since calls also move a circuit to its next state.

The results are not stored: nobody reads them, and they would make 76 rows a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from celery import shared_task

from .storage.database import EXPIRE_BATCH, EXPIRY, DatabaseStore
from .upkeep import notifications, retention

#: Seconds after which a queued ``half_open_expired`` is dropped. The next one is already queued by
#: then, and a worker that was away must not find a backlog.
EXPIRES: Final = 2.0

#: The same for ``notify``.
NOTIFY_EXPIRES: Final = 30.0

#: The same for ``prune``.
PRUNE_EXPIRES: Final = 1800.0


@shared_task(name="circuits.tasks.half_open_expired", expires=EXPIRES, ignore_result=True)
def half_open_expired() -> int:
    """Move every open circuit whose delay has passed to half_open, and end modes that are over.

    Returns:
        How many circuits were changed. Safe to run any number of times at once.
    """
    store = DatabaseStore()
    total = _all_batches(store.expire_due) + _all_batches(store.end_modes)
    store.beat(EXPIRY)
    # Last, since MAX_CIRCUITS may make it raise, which must not keep circuits from recovering.
    store.create_configured()
    return total


def _all_batches(expire: Callable[[], int]) -> int:
    total = moved = expire()
    while moved == EXPIRE_BATCH:
        moved = expire()
        total += moved
    return total


@shared_task(name="circuits.tasks.notify", expires=NOTIFY_EXPIRES, ignore_result=True)
def notify() -> int:
    """Notify people of circuits that opened or closed, as ``CIRCUITS["NOTIFY"]`` says.

    Returns:
        How many notices went out. Safe to run any number of times at once.
    """
    return notifications.tell_all(DatabaseStore())


@shared_task(name="circuits.tasks.prune", expires=PRUNE_EXPIRES, ignore_result=True)
def prune() -> int:
    """Delete rows as ``HISTORY_DAYS``, ``HISTORY_ROWS``, ``STATISTICS_DAYS`` and ``IDLE_DAYS`` say.

    Returns:
        How many rows were deleted. Safe to run any number of times at once.
    """
    store = DatabaseStore()
    store.forget_refusals()
    return retention.prune(store)
