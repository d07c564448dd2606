"""Which changes have yet to be told to people. The rows of the history are the outbox.

A change waits in its row, so nothing is lost with a process, and it is claimed for a while by
whoever tells it, so it is told once however many hosts run the task. If a process dies between
telling and noting it, the claim runs out and the change is told again: at least once, mostly once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from django.db import transaction

from . import conf
from .machine import CLOCK_SKEW
from .models import Circuit, Transition
from .rows import to_datetime, to_seconds
from .store import DatabaseStore

#: Seconds within which a claimed change must have been told, before another process may try.
CLAIM_SECONDS: Final = 120.0

#: Seconds to wait after a failure to tell.
RETRY_SECONDS: Final = 30.0

#: How many circuits one pass takes on.
BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Notice:
    """The changes of one circuit that are to be told together, the oldest first."""

    circuit: Circuit
    changes: tuple[Transition, ...]

    @property
    def delivered_to(self) -> frozenset[str]:
        """The channels that have all of it already, from a try that failed half-way."""
        each = [set(filter(None, change.delivered_to.split(","))) for change in self.changes]
        return frozenset(set.intersection(*each))


def claim(store: DatabaseStore) -> Iterator[Notice]:
    """Yield what is to be told now, each notice claimed for this process alone."""
    pending = Transition.objects.using(store.alias).filter(pending=True)
    circuits = pending.order_by("circuit_id").values_list("circuit_id", flat=True).distinct()
    for pk in list(circuits[:BATCH]):
        notice = _claim_one(store, pk)
        if notice is not None:
            yield notice


def _claim_one(store: DatabaseStore, pk: int) -> Notice | None:
    now = store.now()
    with transaction.atomic(using=store.alias):
        pending = Transition.objects.using(store.alias).filter(circuit_id=pk, pending=True)
        changes = list(pending.select_for_update().order_by("pk"))
        circuit = Circuit.objects.using(store.alias).filter(pk=pk).first()
        if circuit is None or not changes or _is_claimed(changes, now) or _is_quiet(circuit, now):
            return None
        _update(store, changes, claimed_until=to_datetime(now + CLAIM_SECONDS))
    return Notice(circuit, tuple(changes))


def _is_claimed(changes: list[Transition], now: float) -> bool:
    # A claim that would last longer than a new one is of a clock set back.
    longest = now + CLAIM_SECONDS + CLOCK_SKEW
    return any(
        now < to_seconds(change.claimed_until, until=longest) <= longest
        for change in changes
        if change.claimed_until
    )


def _is_quiet(circuit: Circuit, now: float) -> bool:
    """Whether people have been told of this circuit a moment ago; a clock set back ends it."""
    if circuit.notified_at is None:
        return False
    since = now - to_seconds(circuit.notified_at, until=now)
    return 0 <= since < conf.get().notify.quiet_seconds


def note_delivered(store: DatabaseStore, notice: Notice, channel: str) -> None:
    """Note that one channel has the notice, so that a retry does not tell it there again."""
    channels = ",".join(sorted({*notice.delivered_to, channel}))
    for change in notice.changes:
        change.delivered_to = channels
    _update(store, notice.changes, delivered_to=channels)


def note_told(store: DatabaseStore, notice: Notice) -> None:
    """Note that every channel has the notice."""
    now = to_datetime(store.now())
    _update(store, notice.changes, pending=False, claimed_until=None)
    Circuit.objects.using(store.alias).filter(pk=notice.circuit.pk).update(notified_at=now)


def put_off(store: DatabaseStore, notice: Notice) -> None:
    """Leave the notice for a later try."""
    _update(store, notice.changes, claimed_until=to_datetime(store.now() + RETRY_SECONDS))


def _update(store: DatabaseStore, changes: Iterable[Transition], **values: object) -> None:
    pks = [change.pk for change in changes]
    Transition.objects.using(store.alias).filter(pk__in=pks).update(**values)
