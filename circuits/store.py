"""A circuit's row: read as a snapshot, changed under its lock.

The only module that locks or writes circuit state. It decides nothing: it hands the row to a
function of :mod:`circuits.machine` and writes down what comes back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final, Generic, Protocol, TypeVar

from django.conf import settings
from django.db import connections, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from . import conf, machine
from .exceptions import TooManyCircuitsError
from .fields import NOW_SQL, DatabaseNow
from .machine import Change, Lease, Mode, Permit, Policy, State, Status, Step, Strategy
from .models import Circuit, Heartbeat, Transition
from .signals import state_changed
from .validation import check_name, parse_statuses
from .windows import EMPTY, Bucket, Window

logger = logging.getLogger("circuits")

S = TypeVar("S", bound=Step)

#: How many circuits one transaction of :meth:`DatabaseStore.expire_due` may lock.
EXPIRE_BATCH: Final = 500

#: The heartbeat of the task that moves circuits whose delay has passed.
EXPIRY: Final = "half_open_expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a store knew of a circuit at one moment.

    Args:
        failure_statuses: HTTP statuses that count as failures; None for the site's.
        now: That moment, in seconds on the store's clock.
        read_at: The same moment on this process's monotonic clock.
    """

    name: str
    status: Status
    policy: Policy
    timeout: float
    failure_statuses: frozenset[int] | None
    now: float
    read_at: float

    @property
    def is_shared(self) -> bool:
        """Whether it comes from the database, and not from this process's memory."""
        return self.status.generation >= 0

    def time(self, at: float) -> float:
        """Return a moment of the monotonic clock as the store's clock would name it."""
        return self.now + (at - self.read_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What goes into the row and the history beside a step.

    Args:
        error: The redacted error of a failed call.
        success: The call succeeded.
        actor: Who asked for the change; empty for the machine.
        words: What they said about it.
    """

    error: str = ""
    success: bool = False
    actor: str = ""
    words: str = ""


NO_NOTE: Final = Note()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a process gathered about one circuit since it last wrote it down.

    Args:
        last_success_at: In seconds on the store's clock.
    """

    name: str
    successes: int
    refusals: int
    last_success_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed(Generic[S]):
    """What came of a change.

    Args:
        before: The circuit as the decision found it.
        step: What the decision returned.
        transition: The row in the history, where the database has one.
    """

    before: Snapshot
    step: S
    transition: Transition | None = None

    @property
    def after(self) -> Snapshot:
        """The circuit as the decision left it."""
        return replace(self.before, status=self.step.status)

    @property
    def happened(self) -> bool:
        """Whether anything is different."""
        return self.step.status is not self.before.status


class Store(Protocol):
    """Where circuits are kept: the database, or the process's memory."""

    def read(self, name: str) -> Snapshot:
        """Return the circuit, made from the settings at its first use."""

    def change(
        self, name: str, decide: Callable[[Snapshot], S], note: Note = NO_NOTE
    ) -> Changed[S]:
        """Put the circuit to ``decide`` with no one else at it, and keep what it returns.

        Whoever calls it calls :func:`announce` with the answer, once they hold no lock.
        """

    def count_failure(self, snapshot: Snapshot, permit: Permit, settle: float, error: str) -> bool:
        """Count a failure that changes no state; false if it might, or counts no more."""

    def note_failure(self, snapshot: Snapshot, permit: Permit, error: str) -> None:
        """Note a failure that the rate strategy counts elsewhere."""

    def clear_failures(self, snapshot: Snapshot, permit: Permit) -> None:
        """Set the run of failures of a closed circuit back to none."""

    def flush(self, tally: Tally) -> None:
        """Write down what a process has gathered about one circuit."""


class DatabaseStore:
    """The circuits in the database that all processes share."""

    @property
    def alias(self) -> str:
        """The database alias."""
        return conf.get().database

    def read(self, name: str) -> Snapshot:
        """Return the circuit, made from the settings at its first use."""
        rows = self._rows().filter(name=name)
        row = rows.first()
        if row is None:
            self._make(name)
            row = rows.get()
        return _snapshot(row)

    def change(
        self, name: str, decide: Callable[[Snapshot], S], note: Note = NO_NOTE
    ) -> Changed[S]:
        """Put the circuit to ``decide`` under its row lock, and write what it returns."""
        while True:
            with transaction.atomic(using=self.alias):
                row = self._rows().select_for_update().filter(name=name).first()
                if row is not None:
                    return self._decided(row, decide, note)
            # Not in that transaction: on MariaDB, many that make the row at once would deadlock.
            self._make(name)

    def count_failure(self, snapshot: Snapshot, permit: Permit, settle: float, error: str) -> bool:
        """Count a failure that changes no state, in one conditional UPDATE.

        The condition is the machine's opening rule turned round, so whatever it lets through
        could not have opened the circuit; everything else is put to the machine by `change`.
        """
        now = to_datetime(snapshot.time(monotonic()))
        young = Q(run_started_at__gt=to_datetime(snapshot.time(monotonic()) - settle))
        below = Q(failure_count__lt=F("threshold") - 1)
        harmless = below | Q(mode=Mode.FORCED_CLOSED.value) | (young if settle > 0 else Q())
        counted = (
            self._closed(snapshot.name, permit)
            .filter(harmless)
            .update(
                failure_count=F("failure_count") + 1,
                run_started_at=Coalesce("run_started_at", now),
                **_failure_noted(error, now),
            )
        )
        return counted == 1

    def note_failure(self, snapshot: Snapshot, permit: Permit, error: str) -> None:
        """Note the error of a failure that the rate strategy counts by its windows."""
        now = to_datetime(snapshot.time(monotonic()))
        self._closed(snapshot.name, permit).update(**_failure_noted(error, now))

    def clear_failures(self, snapshot: Snapshot, permit: Permit) -> None:
        """Set the run of failures of a closed circuit back to none, in one conditional UPDATE."""
        self._closed(snapshot.name, permit).filter(failure_count__gt=0).update(
            failure_count=0, run_started_at=None
        )

    def flush(self, tally: Tally) -> None:
        """Add what a process has gathered to the row, in one UPDATE."""
        new: dict[str, Any] = {
            "total_successes": F("total_successes") + tally.successes,
            "total_refusals": F("total_refusals") + tally.refusals,
        }
        if tally.last_success_at is not None:
            at = to_datetime(tally.last_success_at)
            for column in ("last_attempt_at", "last_success_at"):
                new[column] = Coalesce(Greatest(F(column), at), at)
        self._all().filter(name=tally.name).update(**new)

    def now(self) -> float:
        """Return the database's clock, in seconds since 1970."""
        connection = connections[self.alias]
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {NOW_SQL[connection.vendor]}")
            return float(cursor.fetchone()[0]) / 1_000_000

    def expire_due(self, batch: int = EXPIRE_BATCH) -> int:
        """Move up to ``batch`` open circuits whose delay has passed to half_open.

        Returns:
            How many were moved. Rows that others hold are left to them where the database can
            skip locked rows.
        """
        with transaction.atomic(using=self.alias):
            due = self._due(batch)
            # One moment for all of them: then most are changed alike, in one UPDATE.
            now = max((row.db_now for row in due), default=0) / 1_000_000
            steps = [(row, machine.expire(_status(row), now)) for row in due]
            self._write_alike([(row, step) for row, step in steps if step.change])
            transitions = Transition.objects.using(self.alias).bulk_create(
                _transition(row, step.change, NO_NOTE) for row, step in steps if step.change
            )
        for transition in transitions:
            announce_transition(transition)
        return len(transitions)

    def create_configured(self) -> int:
        """Make the circuits that the settings name and the database lacks; return how many."""
        names = conf.get().circuits.keys()
        present = set(self._all().filter(name__in=names).values_list("name", flat=True))
        for name in names - present:
            self._make(name)
        return len(names - present)

    def beat(self, name: str) -> None:
        """Note that what should run regularly has run just now."""
        beats = Heartbeat.objects.using(self.alias)
        at = to_datetime(self.now())
        if not beats.filter(name=name).update(at=at):
            beats.get_or_create(name=name, defaults={"at": at})

    def last_beat(self, name: str) -> float | None:
        """Return how many seconds ago it last ran; None for never."""
        beats: Any = Heartbeat.objects.using(self.alias).annotate(db_now=DatabaseNow())
        beat = beats.filter(name=name).first()
        # A clock set back is no reason for a time in the future.
        return None if beat is None else max(0.0, beat.db_now / 1_000_000 - to_seconds(beat.at))

    def _all(self) -> QuerySet[Circuit]:
        return Circuit.objects.using(self.alias)

    def _rows(self) -> QuerySet[Any]:
        return self._all().annotate(db_now=DatabaseNow()).order_by()

    def _closed(self, name: str, permit: Permit) -> QuerySet[Circuit]:
        return self._all().filter(name=name, generation=permit.generation, state=State.CLOSED.value)

    def _due(self, batch: int) -> list[Any]:
        skip_locked = connections[self.alias].features.has_select_for_update_skip_locked
        return list(
            self._rows()
            .select_for_update(skip_locked=skip_locked)
            .filter(
                state=State.OPEN.value,
                mode__in=(Mode.AUTOMATIC.value, Mode.OBSERVE.value),
                retry_at__lte=to_datetime(self.now()),
            )
            # As the index has them: no more rows are read, or locked on MariaDB, than are taken.
            .order_by("retry_at")[:batch]
        )

    def _write_alike(self, steps: Iterable[tuple[Circuit, Step]]) -> None:
        """Write steps, those that change the same columns to the same values in one UPDATE."""
        alike: dict[str, tuple[dict[str, Any], list[int]]] = {}
        for row, step in steps:
            new = _changed(_status(row), step.status)
            for column, value in new.items():
                setattr(row, column, value)
            # Rows that differ in their generation alone are alike: each goes one up.
            new["generation"] = F("generation") + 1
            alike.setdefault(repr(new), (new, []))[1].append(row.pk)
        for new, pks in alike.values():
            self._all().filter(pk__in=pks).update(**new)

    def _make(self, name: str) -> None:
        """Make the circuit, unless another process has just made it."""
        check_name(name)
        limit = conf.get().max_circuits
        if self._all().count() >= limit:
            raise TooManyCircuitsError(name, limit)
        values = {"created_at": to_datetime(self.now()), **conf.get().circuit(name)}
        self._all().get_or_create(name=name, defaults=values)

    def _decided(self, row: Any, decide: Callable[[Snapshot], S], note: Note) -> Changed[S]:
        before = _snapshot(row)
        step = decide(before)
        transition = self._write(row.pk, before, step, note)
        if transition is not None:
            transition.circuit = row
        return Changed(before=before, step=step, transition=transition)

    def _write(self, pk: int, before: Snapshot, step: Step, note: Note) -> Transition | None:
        """Write a step and what is noted beside it; nothing where nothing happened."""
        if step.status is before.status:
            return None
        changed = _changed(before.status, step.status) | _noted(note, to_datetime(before.now))
        self._all().filter(pk=pk).update(**changed)
        if step.change is None:
            return None
        transition = _transition(Circuit(pk=pk), step.change, note)
        transition.save(using=self.alias, force_insert=True)
        return transition


def announce(changed: Changed[Any]) -> None:
    """Log and signal a change, if it was one of state or mode, after its commit."""
    if changed.transition is not None:
        announce_transition(changed.transition)
    elif changed.step.change is not None:
        log_change(changed.before.name, changed.step.change)


def announce_transition(transition: Transition) -> None:
    """Log and signal a row of the history, after its commit."""
    name = transition.circuit.name

    def now() -> None:
        log_change(name, transition)
        state_changed.send_robust(sender=Circuit, name=name, transition=transition)

    # At once, but for a site that shares the alias and is in a transaction of its own.
    transaction.on_commit(now, using=transition._state.db)


def log_change(name: str, change: Transition | Change) -> None:
    """Write the log line of a change of state, mode or both."""
    if change.from_mode != change.to_mode:
        logger.warning("Changed mode from %s to %s (%s)", change.from_mode, change.to_mode, name)
    if change.from_state != change.to_state:
        level = logging.WARNING if change.to_state == State.OPEN else logging.INFO
        logger.log(
            level, "Changed state from %s to %s (%s)", change.from_state, change.to_state, name
        )


# Rows and snapshots ----------------------------------------------------------------------------


def to_datetime(seconds: float) -> datetime:
    """Return seconds since 1970 as the kind of datetime the site's settings ask for."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment if settings.USE_TZ else timezone.make_naive(moment)


def to_seconds(moment: datetime) -> float:
    """Return a datetime from the database as seconds since 1970."""
    return (moment if settings.USE_TZ else timezone.make_aware(moment)).timestamp()


def _optional(convert: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else convert(value)


def _snapshot(row: Any) -> Snapshot:
    return Snapshot(
        name=row.name,
        status=_status(row),
        policy=_policy(row),
        timeout=row.timeout,
        failure_statuses=parse_statuses(row.failure_statuses) or None,
        now=row.db_now / 1_000_000,
        read_at=monotonic(),
    )


def _policy(row: Circuit) -> Policy:
    values = {name: getattr(row, name) for name in machine.POLICY_NAMES}
    return Policy(**{**values, "strategy": Strategy(row.strategy)})


def _status(row: Circuit) -> Status:
    return Status(
        state=State(row.state),
        mode=Mode(row.mode),
        generation=row.generation,
        failure_count=row.failure_count,
        run_started_at=_optional(to_seconds, row.run_started_at),
        opened_at=_optional(to_seconds, row.opened_at),
        retry_at=_optional(to_seconds, row.retry_at),
        reopen_count=row.reopen_count,
        trial_successes=row.trial_successes,
        leases=tuple(Lease(token, expires_at) for token, expires_at in row.leases),
        recovered_at=_optional(to_seconds, row.recovered_at),
        window=_window(row.window),
        changed_at=_optional(to_seconds, row.state_changed_at),
    )


def _window(kept: dict[str, Any] | None) -> Window:
    if kept is None:
        return EMPTY
    return Window(tuple(Bucket(*bucket) for bucket in kept["buckets"]), kept["recent"])


def _window_column(window: Window) -> dict[str, Any] | None:
    if window == EMPTY:
        return None
    return {"buckets": window.buckets, "recent": window.recent}


def _columns(status: Status) -> dict[str, Any]:
    return {
        "state": status.state.value,
        "mode": status.mode.value,
        "generation": status.generation,
        "failure_count": status.failure_count,
        "run_started_at": _optional(to_datetime, status.run_started_at),
        "opened_at": _optional(to_datetime, status.opened_at),
        "retry_at": _optional(to_datetime, status.retry_at),
        "reopen_count": status.reopen_count,
        "trial_successes": status.trial_successes,
        "leases": [[lease.token, lease.expires_at] for lease in status.leases],
        "recovered_at": _optional(to_datetime, status.recovered_at),
        "window": _window_column(status.window),
        "state_changed_at": _optional(to_datetime, status.changed_at),
    }


def _changed(before: Status, after: Status) -> dict[str, Any]:
    """Return the columns that are different, with their new values."""
    old, new = _columns(before), _columns(after)
    return {key: new[key] for key in new if new[key] != old[key]}


def _noted(note: Note, now: datetime) -> dict[str, Any]:
    if note.error:
        return _failure_noted(note.error, now)
    if note.success:
        return {"last_attempt_at": now, "last_success_at": now}
    return {}


def _failure_noted(error: str, now: datetime) -> dict[str, Any]:
    return {
        "last_attempt_at": now,
        "last_failure_at": now,
        "last_error": error,
        "total_failures": F("total_failures") + 1,
    }


def _transition(row: Circuit, change: Change, note: Note) -> Transition:
    return Transition(
        circuit=row,
        from_state=change.from_state.value,
        to_state=change.to_state.value,
        from_mode=change.from_mode.value,
        to_mode=change.to_mode.value,
        reason=change.reason.value,
        detail=note.words or note.error,
        actor=note.actor,
        generation=change.generation,
        at=to_datetime(change.at),
        pending=_is_news(change) and bool(conf.get().notify),
    )


def _is_news(change: Change) -> bool:
    """Whether people want to hear of a change: a circuit opened, or closed again."""
    was_closed = change.from_state is State.CLOSED
    is_closed = change.to_state is State.CLOSED
    return is_closed != was_closed and (is_closed or change.to_state is State.OPEN)
