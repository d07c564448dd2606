"""A circuit's row: read as a snapshot, changed under its lock.

The only module that locks or writes circuit state. It decides nothing: it hands the row to a
function of :mod:`circuits.machine` and writes down what comes back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic
from typing import Any, Final, Generic, Protocol, TypeVar

from django.db import Error, connections, transaction
from django.db.models import F, QuerySet

from . import conf, machine
from .dberrors import InDoubtError, code_of, retried
from .exceptions import TooManyCircuitsError
from .fields import NOW_SQL, DatabaseNow
from .machine import Change, Mode, Permit, Policy, State, Status, Step
from .models import Circuit, Heartbeat, Minute, Transition
from .rows import (
    ADD_REFUSALS,
    ADD_TALLY,
    ADD_TO_MINUTE,
    CLEAR_FAILURES,
    COUNT_FAILURE,
    GLANCE,
    LOCK,
    NOTE_FAILURE,
    READ,
    WRITE,
    Row,
    columns_of,
    glance_of,
    policy_of,
    status_of,
    timeout_of,
    to_datetime,
    to_seconds,
)
from .signals import state_changed
from .statements import Select, Update
from .validation import check_name, parse_statuses

logger = logging.getLogger("circuits")

S = TypeVar("S", bound=Step)
T = TypeVar("T")

#: How many circuits one transaction of :meth:`DatabaseStore.expire_due` may lock.
EXPIRE_BATCH: Final = 500

#: Seconds for which a policy is not read again where each call asks for the state.
POLICY_SECONDS: Final = 1.0

#: The modes in which an open circuit recovers by itself.
_RECOVERING: Final = (Mode.AUTOMATIC.value, Mode.OBSERVE.value)

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

    @property
    def is_counting(self) -> bool:
        """Whether it counts failures that a success would clear."""
        return self.status.state is State.CLOSED and self.status.failure_count > 0

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
        at: The moment, in seconds on the store's clock; None where that is not known.
        refused: The refusals, by the generation that refused; 0 for those of no shared one.
        last_success_at: In seconds on the store's clock.
    """

    name: str
    at: float | None
    successes: int
    failures: int
    refused: Mapping[int, int]
    last_success_at: float | None

    @property
    def refusals(self) -> int:
        """All of them."""
        return sum(self.refused.values())


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

    def read(self, name: str, known: Snapshot | None = None) -> Snapshot:
        """Return the circuit, made from the settings at its first use.

        Args:
            known: What was read before; it is returned itself if it still holds.
        """

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


class SharedStore(Store, Protocol):
    """A store of circuits that other processes share, as far as it can be reached."""

    def merge(
        self, name: str, decide: Callable[[Snapshot], S], note: Note = NO_NOTE
    ) -> Changed[S] | None:
        """Change the shared circuit by what was gathered; None if that has to be kept for now."""

    def revive(self, name: str) -> None:
        """Look after a database that failed; the caller holds no lock, and may have to wait."""


class DatabaseStore:
    """The circuits in the database that all processes share."""

    @property
    def alias(self) -> str:
        """The database alias."""
        return conf.get().database

    def read(self, name: str, known: Snapshot | None = None) -> Snapshot:
        """Return the circuit, made from the settings at its first use.

        Args:
            known: What was read before; it is returned itself if its state still holds and its
                policy is younger than ``POLICY_SECONDS``.
        """
        if known is not None and self._still_holds(known):
            return known
        row = self._row(READ, name)
        while row is None:
            self._make(name)
            row = self._row(READ, name)
        return _snapshot(row)

    def change(
        self, name: str, decide: Callable[[Snapshot], S], note: Note = NO_NOTE
    ) -> Changed[S]:
        """Put the circuit to ``decide`` under its row lock, and write what it returns."""
        while True:
            changed = self._committed(lambda: self._changed(name, decide, note))
            if changed is not None:
                return changed
            # Not in that transaction: on MariaDB, many that make the row at once would deadlock.
            self._make(name)

    merge = change

    def revive(self, name: str) -> None:
        """Do nothing: it asks its database every time, whatever came of it before."""

    def _changed(self, name: str, decide: Callable[[Snapshot], S], note: Note) -> Changed[S] | None:
        row = self._row(LOCK, name)
        return None if row is None else self._decided(row, decide, note)

    def _committed(self, work: Callable[[], T | None]) -> T | None:
        """Do a piece of work in one transaction, and again after a conflict.

        Args:
            work: Returns None where it has written nothing.

        Raises:
            InDoubtError: The database may have committed it, and did not say.
        """

        def attempt() -> T | None:
            done = None
            try:
                with transaction.atomic(using=self.alias):
                    done = work()
            except Error as error:
                if done is not None and code_of(error) is None:
                    raise InDoubtError(str(error)) from error
                raise
            return done

        return retried(self.alias, attempt)

    def count_failure(self, snapshot: Snapshot, permit: Permit, settle: float, error: str) -> bool:
        """Count a failure that changes no state, in one conditional UPDATE.

        Whatever it lets through could not have opened the circuit; everything else is put to the
        machine by `change`.
        """
        now = snapshot.time(monotonic())
        after, before = (to_datetime(now + s) if settle > 0 else None for s in (-settle, settle))
        return self._note_failure(
            COUNT_FAILURE, snapshot, permit, now, error, young_after=after, young_before=before
        )

    def note_failure(self, snapshot: Snapshot, permit: Permit, error: str) -> None:
        """Note the error of a failure that the rate strategy counts by its windows."""
        self._note_failure(NOTE_FAILURE, snapshot, permit, snapshot.time(monotonic()), error)

    def clear_failures(self, snapshot: Snapshot, permit: Permit) -> None:
        """Set the run of failures of a closed circuit back to none, in one conditional UPDATE."""
        values = {"name": snapshot.name, "generation": permit.generation}
        retried(self.alias, lambda: CLEAR_FAILURES.run(self.alias, **values))

    def flush(self, tally: Tally) -> None:
        """Add what a process has gathered to the row, its minute and its history.

        Raises:
            InDoubtError: The database may have done so, and did not say.
        """
        self._committed(lambda: self._added(tally))

    def touch(self, name: str) -> None:
        """Write to the circuit's row and change nothing.

        Raises:
            django.db.Error: The database cannot be written to.
        """
        self._all().filter(name=name).update(last_attempt_at=F("last_attempt_at"))

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
        return self._expire("retry_at", batch, state=State.OPEN.value, mode__in=_RECOVERING)

    def end_modes(self, batch: int = EXPIRE_BATCH) -> int:
        """Put up to ``batch`` circuits whose mode is over back to automatic; return how many."""
        return self._expire("mode_until", batch)

    def _expire(self, column: str, batch: int, **lookups: Any) -> int:
        moved = retried(self.alias, lambda: self._expired(column, batch, lookups))
        for name, transition in moved:
            announce_transition(name, transition)
        return len(moved)

    def _expired(
        self, column: str, batch: int, lookups: Mapping[str, Any]
    ) -> list[tuple[str, Transition]]:
        with transaction.atomic(using=self.alias):
            due = self._due(column, batch, lookups)
            # One moment for all of them: then most are changed alike, in one UPDATE.
            now = max((row.db_now for row in due), default=0) / 1_000_000
            steps = [(row, machine.expire(status_of(row), now)) for row in due]
            moved = [(row, step) for row, step in steps if step.change]
            self._write_alike(moved)
            transitions = Transition.objects.using(self.alias).bulk_create(
                _transition(row.pk, step.change, NO_NOTE) for row, step in moved if step.change
            )
        return [(row.name, each) for (row, _), each in zip(moved, transitions, strict=True)]

    def create_configured(self) -> int:
        """Make the circuits that the settings name and the database lacks; return how many."""
        names = conf.get().circuits.keys()
        present = set(self._all().filter(name__in=names).values_list("name", flat=True))
        for name in names - present:
            self._make(name)
        return len(names - present)

    def has(self, number: int) -> bool:
        """Return whether there are so many circuits, at least.

        Keys count up from 1, so while the highest is below, nothing need be counted: to make the
        next circuit costs the same however many there are.
        """
        newest = self._all().order_by("-pk").values_list("pk", flat=True).first()
        return newest is not None and newest >= number and self._all().count() >= number

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
        if beat is None:
            return None
        now: float = beat.db_now / 1_000_000
        # A clock set back is no reason for a time in the future.
        return max(0.0, now - to_seconds(beat.at, until=now))

    def _added(self, tally: Tally) -> Tally | None:
        """Add a tally wherever it counts; the circuit's lock lets one process at a time do so."""
        at = tally.last_success_at
        is_there = ADD_TALLY.run(
            self.alias,
            name=tally.name,
            successes=tally.successes,
            refusals=tally.refusals,
            last_success_at=None if at is None else to_datetime(at),
        )
        if not is_there:
            return None  # somebody has deleted the circuit
        if conf.get().statistics_days:
            self._add_to_minute(tally)
        for generation, refusals in tally.refused.items():
            if generation:
                refused = {"generation": generation, "refusals": refusals}
                ADD_REFUSALS.run(self.alias, name=tally.name, **refused)
        return tally

    def _add_to_minute(self, tally: Tally) -> None:
        minute = int((self.now() if tally.at is None else tally.at) // 60)
        calls = {
            "successes": tally.successes,
            "failures": tally.failures,
            "refusals": tally.refusals,
        }
        if not ADD_TO_MINUTE.run(self.alias, name=tally.name, minute=minute, **calls):
            circuit = self._all().only("pk").get(name=tally.name)
            Minute.objects.using(self.alias).create(circuit=circuit, minute=minute, **calls)

    def _all(self) -> QuerySet[Circuit]:
        return Circuit.objects.using(self.alias)

    def _rows(self) -> QuerySet[Any]:
        return self._all().annotate(db_now=DatabaseNow()).order_by()

    def _still_holds(self, known: Snapshot) -> bool:
        """Whether nothing has happened since; asks for as little as can tell."""
        # Trials come and go within one generation.
        is_settled = known.is_shared and known.status.state is not State.HALF_OPEN
        if not is_settled or monotonic() - known.read_at >= POLICY_SECONDS:
            return False
        return GLANCE.row(self.alias, name=known.name) == glance_of(known.status)

    def _row(self, statement: Select, name: str) -> Any:
        values = statement.row(self.alias, name=name)
        return None if values is None else Row(*values)

    def _note_failure(
        self,
        statement: Update,
        snapshot: Snapshot,
        permit: Permit,
        now: float,
        error: str,
        **values: Any,
    ) -> bool:
        values |= {
            "name": snapshot.name,
            "generation": permit.generation,
            "last_failure_at": to_datetime(now),
            "last_error": error,
        }
        return retried(self.alias, lambda: statement.run(self.alias, **values)) == 1

    def _due(self, column: str, batch: int, lookups: Mapping[str, Any]) -> list[Any]:
        skip_locked = connections[self.alias].features.has_select_for_update_skip_locked
        return list(
            self._rows()
            .select_for_update(skip_locked=skip_locked)
            .filter(**lookups, **{f"{column}__lte": to_datetime(self.now())})
            # As the index has them: no more rows are read, or locked on MariaDB, than are taken.
            .order_by(column)[:batch]
        )

    def _write_alike(self, steps: Iterable[tuple[Circuit, Step]]) -> None:
        """Write steps, those that change the same columns to the same values in one UPDATE."""
        alike: dict[str, tuple[dict[str, Any], list[int]]] = {}
        for row, step in steps:
            old, new = columns_of(status_of(row)), columns_of(step.status)
            changed = {column: new[column] for column in new if new[column] != old[column]}
            # Rows that differ in their generation alone are alike: each goes one up.
            changed["generation"] = F("generation") + 1
            alike.setdefault(repr(changed), (changed, []))[1].append(row.pk)
        for changed, pks in alike.values():
            self._all().filter(pk__in=pks).update(**changed)

    def _make(self, name: str) -> None:
        """Make the circuit, unless another process has just made it."""
        check_name(name)
        limit = conf.get().max_circuits
        if self.has(limit):
            raise TooManyCircuitsError(name, limit)
        values = {"created_at": to_datetime(self.now()), **conf.get().circuit(name)}
        self._all().get_or_create(name=name, defaults=values)

    def _decided(self, row: Any, decide: Callable[[Snapshot], S], note: Note) -> Changed[S]:
        before = _snapshot(row)
        step = decide(before)
        if step.status is before.status:
            return Changed(before=before, step=step)
        WRITE.run(
            self.alias,
            name=row.name,
            **columns_of(step.status),
            **_noted(note, to_datetime(before.now)),
        )
        if step.change is None:
            return Changed(before=before, step=step)
        transition = _transition(row.id, step.change, note)
        transition.save(using=self.alias, force_insert=True)
        return Changed(before=before, step=step, transition=transition)


def announce(changed: Changed[Any]) -> None:
    """Log and signal a change, if it was one of state or mode, after its commit."""
    if changed.transition is not None:
        announce_transition(changed.before.name, changed.transition)
    elif changed.step.change is not None:
        log_change(changed.before.name, changed.step.change)


def announce_transition(name: str, transition: Transition) -> None:
    """Log and signal a row of the history, after its commit."""

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


def _snapshot(row: Any) -> Snapshot:
    return Snapshot(
        name=row.name,
        status=status_of(row),
        policy=policy_of(row),
        timeout=timeout_of(row),
        failure_statuses=parse_statuses(row.failure_statuses) or None,
        now=row.db_now / 1_000_000,
        read_at=monotonic(),
    )


def _noted(note: Note, now: datetime) -> dict[str, Any]:
    failed = bool(note.error)
    return {
        "last_success_at": now if note.success else None,
        "last_failure_at": now if failed else None,
        "last_error": note.error if failed else None,
        "failures": int(failed),
    }


def _transition(circuit_id: int, change: Change, note: Note) -> Transition:
    return Transition(
        circuit_id=circuit_id,
        from_state=change.from_state.value,
        to_state=change.to_state.value,
        from_mode=change.from_mode.value,
        to_mode=change.to_mode.value,
        reason=change.reason.value,
        detail=note.words or note.error,
        actor=note.actor,
        generation=change.generation,
        at=to_datetime(change.at),
        until=None if change.until is None else to_datetime(change.until),
        pending=_is_news(change) and bool(conf.get().notify),
    )


def _is_news(change: Change) -> bool:
    """Whether people want to hear of a change: a circuit opened, or closed again."""
    was_closed = change.from_state is State.CLOSED
    is_closed = change.to_state is State.CLOSED
    return is_closed != was_closed and (is_closed or change.to_state is State.OPEN)
