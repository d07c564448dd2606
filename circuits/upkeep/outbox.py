"""The outbox of notifications: changes in the history that nobody has been notified of yet.

A change waits in its row of the history, so it is not lost when a process dies. Before a process
sends a notice, it claims the changes for a while, so each notice goes out once however many hosts
run the task. If the process dies before it has noted the delivery, the claim runs out and the
notice is sent again. Delivery is thus at least once, and nearly always exactly once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from django.db import transaction

from .. import conf
from ..core.clocks import CLOCK_SKEW
from ..fields import with_clock
from ..models import Circuit, Transition
from ..moments import to_datetime, to_seconds
from ..storage.database import DatabaseStore

#: Seconds that a claim holds. After that, another process may send the notice.
CLAIM_SECONDS: Final = 120.0

#: Seconds to wait after a notice could not be sent.
RETRY_SECONDS: Final = 30.0

#: The most circuits that one pass handles.
BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice of one circuit.

    Args:
        circuit: The circuit as it is now, read with the database's clock.
        changes: The changes that the notice reports, the oldest first.
    """

    circuit: Circuit
    changes: tuple[Transition, ...]

    @property
    def delivered_to(self) -> frozenset[str]:
        """The channels that received the notice at an earlier attempt, when another one failed."""
        each = [set(filter(None, change.delivered_to.split(","))) for change in self.changes]
        return frozenset(set.intersection(*each))


def claim(store: DatabaseStore) -> Iterator[Notice]:
    """Yield the notices that are due, each claimed for this process alone."""
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
        circuit = with_clock(Circuit.objects.using(store.alias)).filter(pk=pk).first()
        if circuit is None or not changes or _is_claimed(changes, now) or _is_quiet(circuit, now):
            return None
        _update(store, changes, claimed_until=to_datetime(now + CLAIM_SECONDS))
    return Notice(circuit, tuple(changes))


def _is_claimed(changes: list[Transition], now: float) -> bool:
    # A claim that would end later than a new one was made before the clock was set back.
    longest = now + CLAIM_SECONDS + CLOCK_SKEW
    return any(
        now < to_seconds(change.claimed_until, until=longest) <= longest
        for change in changes
        if change.claimed_until
    )


def _is_quiet(circuit: Circuit, now: float) -> bool:
    """Return whether a notice of this circuit went out less than ``QUIET_SECONDS`` ago."""
    if circuit.notified_at is None:
        return False
    since = now - to_seconds(circuit.notified_at, until=now)
    # A negative age means that the clock was set back, which ends the quiet.
    return 0 <= since < conf.get().notify.quiet_seconds


def note_delivered(store: DatabaseStore, notice: Notice, channel: str) -> None:
    """Note that a channel has received the notice, so that a retry leaves that channel out."""
    channels = ",".join(sorted({*notice.delivered_to, channel}))
    for change in notice.changes:
        change.delivered_to = channels
    _update(store, notice.changes, delivered_to=channels)


def note_told(store: DatabaseStore, notice: Notice) -> None:
    """Note that all channels have received the notice, and take it out of the outbox."""
    now = to_datetime(store.now())
    _update(store, notice.changes, pending=False, claimed_until=None)
    Circuit.objects.using(store.alias).filter(pk=notice.circuit.pk).update(notified_at=now)


def put_off(store: DatabaseStore, notice: Notice) -> None:
    """Release the claim, so that the notice is tried again after ``RETRY_SECONDS``."""
    _update(store, notice.changes, claimed_until=to_datetime(store.now() + RETRY_SECONDS))


def _update(store: DatabaseStore, changes: Iterable[Transition], **values: object) -> None:
    pks = [change.pk for change in changes]
    Transition.objects.using(store.alias).filter(pk__in=pks).update(**values)
