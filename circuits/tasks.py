"""The Celery tasks. Nothing depends on them being run: traffic moves a circuit as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from celery import shared_task
from celery.signals import worker_process_shutdown

from . import breaker, notifications, retention
from .store import EXPIRE_BATCH, EXPIRY, DatabaseStore

#: Seconds after which a pass that no worker has begun is dropped: the next one is already queued,
#: and a worker that was away must not find a backlog.
EXPIRES: Final = 2.0

#: The same for a pass of the notifications.
NOTIFY_EXPIRES: Final = 30.0

#: The same for a pass over what is no longer kept.
PRUNE_EXPIRES: Final = 1800.0


@shared_task(name="circuits.tasks.half_open_expired", expires=EXPIRES)
def half_open_expired() -> int:
    """Move every open circuit whose delay has passed to half_open, and end modes that are over.

    Returns:
        How many circuits were changed. Safe to run any number of times at once.
    """
    store = DatabaseStore()
    total = _all_batches(store.expire_due) + _all_batches(store.end_modes)
    store.beat(EXPIRY)
    # Last: where there is no room for one of them, the others are to recover all the same.
    store.create_configured()
    return total


def _all_batches(expire: Callable[[], int]) -> int:
    total = moved = expire()
    while moved == EXPIRE_BATCH:
        moved = expire()
        total += moved
    return total


@shared_task(name="circuits.tasks.notify", expires=NOTIFY_EXPIRES)
def notify() -> int:
    """Tell people of the circuits that opened and closed, as ``CIRCUITS["NOTIFY"]`` says.

    Returns:
        How many notices went out. Safe to run any number of times at once.
    """
    return notifications.tell_all(DatabaseStore())


@shared_task(name="circuits.tasks.prune", expires=PRUNE_EXPIRES)
def prune() -> int:
    """Delete what ``HISTORY_DAYS``, ``HISTORY_ROWS`` and ``STATISTICS_DAYS`` no longer keep.

    Returns:
        How many rows were deleted. Safe to run any number of times at once.
    """
    return retention.prune(DatabaseStore())


@worker_process_shutdown.connect
def write_down_the_rest(**kwargs: Any) -> None:
    """Flush a last time in a process of Celery's pool, which ends without what runs at exit."""
    breaker.flusher.stop()
