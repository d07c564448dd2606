"""A circuit's row: read as a snapshot, changed under its lock.

This is the only module that locks or writes the state of circuits. It decides nothing: it hands
the row to a function of :mod:`circuits.core.machine`, and writes what that returns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import wraps
from time import monotonic
from typing import Any, Concatenate, Final, ParamSpec, Protocol

from django.db import Error, connections, transaction
from django.db.models import F, QuerySet

from .. import conf, once_a_minute
from ..core import budget, machine
from ..core.conviction import MANY
from ..core.policy import POLICY_NAMES, Policy
from ..core.status import Batch, Change, Failure, Mode, Permit, State, Status, Step, Witness
from ..exceptions import UnknownCircuitError
from ..fields import DatabaseNow, database_now
from ..models import (
    ACTOR_LENGTH,
    BUCKETS,
    UNSTEADY_URGENCY,
    Circuit,
    Heartbeat,
    Minute,
    Transition,
)
from ..moments import to_datetime, to_seconds
from ..redaction import one_line
from ..validation import check_name, parse_statuses
from . import testruns
from .announce import announce
from .contract import NO_NOTE, Changed, Note, S, Snapshot, Store, T, Tally
from .errors import InDoubtError, code_of, encodable, retried
from .families import values_of_new
from .nearness import near_misses
from .room import check_room, make_room
from .rows import (
    ADD_REFUSALS,
    ADD_REFUSED,
    ADD_TALLY,
    ADD_TO_MINUTE,
    CLEAR_FAILURES,
    COUNT_FAILURE,
    GLANCE,
    LAST_BEAT,
    LOCK,
    NOTE_FAILURE,
    READ,
    SPEND,
    WRITE,
    Row,
    columns_of,
    glance_of,
    policy_of,
    read_named,
    status_of,
    timeout_of,
    window_column,
    window_of,
)
from .statements import Select, Update
from .texts import fitted

logger = logging.getLogger("circuits")

P = ParamSpec("P")

#: The most circuits that one transaction of :meth:`DatabaseStore.expire_due` locks.
EXPIRE_BATCH: Final = 500

#: Seconds for which a policy is not read again, even if each call reads the state.
POLICY_SECONDS: Final = 1.0

#: Seconds for which a closed circuit that has refused a call ranks above those that have not.
UNSTEADY_SECONDS: Final = 3_600.0

#: The modes in which an open circuit recovers by itself.
_RECOVERING: Final = (Mode.AUTOMATIC.value, Mode.OBSERVE.value)

#: The heartbeat of the task that moves circuits whose delay has passed.
EXPIRY: Final = "half_open_expired"


class SteeredStore(Store, Protocol):
    """A store whose circuits people can look at and steer."""

    def find(self, name: str) -> Snapshot | None:
        """Return the circuit, or None if it does not exist. This does not make it."""

    def steer(self, name: str, decide: Callable[[Snapshot], S], note: Note) -> Changed[S]:
        """Change the circuit as :meth:`change` does, at the request of a person or program.

        Raises:
            UnknownCircuitError: No circuit has the name, and neither settings nor code declare it.
        """


def _on_the_tests_connection(
    operation: Callable[Concatenate[DatabaseStore, P], T],
) -> Callable[Concatenate[DatabaseStore, P], T]:
    @wraps(operation)
    def operate(self: DatabaseStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if not testruns.is_on():
            return operation(self, *args, **kwargs)
        with testruns.using(self.alias):
            return operation(self, *args, **kwargs)

    return operate


class DatabaseStore:
    """The circuits in the database that all processes share.

    Args:
        alias: The database alias; the one in the settings by default.
    """

    def __init__(self, alias: str = "") -> None:
        self._alias = alias

    @property
    def alias(self) -> str:
        """The database alias."""
        return self._alias or conf.get().database

    @_on_the_tests_connection
    def read(self, name: str, known: Snapshot | None = None) -> Snapshot:
        """Return the circuit; make it from the settings at its first use.

        Args:
            known: An earlier snapshot. The same object is returned if its state is still true and
                its policy is younger than ``POLICY_SECONDS``.
        """
        if known is not None and self._still_holds(known):
            return known
        found = self.find(name)
        while found is None:
            self._make(name)
            found = self.find(name)
        return found

    @_on_the_tests_connection
    def find(self, name: str) -> Snapshot | None:
        """Return the circuit, or None if it does not exist."""
        asked_at = monotonic()
        row = self._row(READ, name)
        return None if row is None else _snapshot(row, known_at=asked_at)

    @_on_the_tests_connection
    def read_all(self, names: Sequence[str]) -> Mapping[str, Snapshot]:
        """Return the circuits that exist, by name, with one statement."""
        asked_at = monotonic()
        rows = read_named(self.alias, names)
        found = (_understood(row, lambda row: _snapshot(row, known_at=asked_at)) for row in rows)
        return {each.name: each for each in found if each is not None}

    def is_private(self) -> bool:
        """Return whether this thread is in a transaction whose changes others cannot see."""
        return connections[self.alias].in_atomic_block

    @_on_the_tests_connection
    def steer(self, name: str, decide: Callable[[Snapshot], S], note: Note) -> Changed[S]:
        """Change the circuit at the request of a person or program.

        Raises:
            UnknownCircuitError: No circuit has the name; the message suggests similar ones.
        """
        changed = _fitted(
            self.alias,
            note,
            lambda fit: self._committed(lambda: self._changed(name, decide, fit)),
        )
        if changed is None and name not in conf.named():
            raise UnknownCircuitError(name, near_misses(name))
        return changed or self.change(name, decide, note)

    @_on_the_tests_connection
    def change(
        self, name: str, decide: Callable[[Snapshot], S], note: Note = NO_NOTE
    ) -> Changed[S]:
        """Change the circuit by ``decide`` under its row lock, and write the result."""
        return _fitted(self.alias, note, lambda fit: self._change(name, decide, fit))

    merge = change

    def _change(self, name: str, decide: Callable[[Snapshot], S], note: Note) -> Changed[S]:
        while True:
            changed = self._committed(lambda: self._changed(name, decide, note))
            if changed is not None:
                return replace(changed, committed_at=monotonic())
            # Not in the same transaction: on MariaDB, several that make the row would deadlock.
            self._make(name)

    def revive(self, name: str) -> None:
        """Do nothing: this store asks its database every time, even after a failure."""

    def _changed(self, name: str, decide: Callable[[Snapshot], S], note: Note) -> Changed[S] | None:
        row = self._row(LOCK, name)
        return None if row is None else self._decided(row, decide, note)

    def _committed(self, work: Callable[[], T | None]) -> T | None:
        """Do work in one transaction, and again after a conflict.

        Args:
            work: The function to call. It returns None if it has written nothing.

        Raises:
            InDoubtError: The connection was lost during the commit, which may have been done.
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

    @_on_the_tests_connection
    def count_failure(
        self, snapshot: Snapshot, permit: Permit, failure: Failure, error: str
    ) -> bool:
        """Count a failure that changes no state, in one conditional UPDATE.

        The UPDATE matches only if the failure cannot open the circuit. All others are decided by
        the machine, through `change`.
        """
        now, settle = snapshot.time(monotonic()), failure.settle_seconds
        after, before = (to_datetime(now + s) if settle > 0 else None for s in (-settle, settle))
        return self._note_failure(
            COUNT_FAILURE,
            snapshot,
            permit,
            now,
            error,
            young_after=after,
            young_before=before,
            # An unknown process does not count as the only one in a run.
            process=failure.witness.process or MANY,
        )

    @_on_the_tests_connection
    def note_failure(self, snapshot: Snapshot, permit: Permit, error: str) -> None:
        """Record the error of a failure that counts in a window."""
        self._note_failure(NOTE_FAILURE, snapshot, permit, snapshot.time(monotonic()), error)

    @_on_the_tests_connection
    def clear_failures(self, snapshot: Snapshot, permit: Permit, witness: Witness) -> bool:
        """Clear the run of failures of a closed circuit, in one conditional UPDATE."""
        values = {
            "name": snapshot.name,
            "generation": permit.generation,
            "succeeded_by": witness.process,
            "last_success_at": to_datetime(snapshot.time(monotonic())),
        }
        return retried(self.alias, lambda: CLEAR_FAILURES.run(self.alias, **values)) == 1

    @_on_the_tests_connection
    def flush(self, tallies: Sequence[Tally]) -> Sequence[Changed[Step] | None]:
        """Add the tallies of a process to the rows, their minutes and their history.

        Args:
            tallies: The tallies, in the same order in all processes, so that they cannot deadlock.

        Raises:
            InDoubtError: The connection was lost during the commit, which may have been done.
        """
        changed = self._committed(lambda: [self._added(tally) for tally in tallies]) or []
        committed_at = monotonic()
        return [each and replace(each, committed_at=committed_at) for each in changed]

    @_on_the_tests_connection
    def touch(self, name: str) -> None:
        """Write to the circuit's row and change nothing.

        Raises:
            django.db.Error: The database cannot be written to.
        """
        with encodable():
            self._all().filter(name=name).update(last_attempt_at=F("last_attempt_at"))

    def now(self) -> float:
        """Return the database's clock, in seconds since 1970."""
        return database_now(connections[self.alias])

    def expire_due(self, batch: int = EXPIRE_BATCH) -> int:
        """Move up to ``batch`` open circuits whose delay has passed to half_open.

        Returns:
            How many were moved. If the database can skip locked rows, rows that others hold are
            left to them.
        """
        return self._expire("retry_at", batch, state=State.OPEN.value, mode__in=_RECOVERING)

    def end_modes(self, batch: int = EXPIRE_BATCH) -> int:
        """Set up to ``batch`` circuits whose mode has ended to automatic; return how many."""
        return self._expire("mode_until", batch)

    def _expire(self, column: str, batch: int, **lookups: Any) -> int:
        moved = retried(self.alias, lambda: self._expired(column, batch, lookups))
        for changed in moved:
            announce(changed)
        return len(moved)

    def _expired(self, column: str, batch: int, lookups: Mapping[str, Any]) -> list[Changed[Step]]:
        with transaction.atomic(using=self.alias):
            due = self._due(column, batch, lookups)
            # One time for all rows, so that most of them change alike and share one UPDATE.
            now = max((row.db_now for row in due), default=0) / 1_000_000
            moved = [(row, step) for row in due if (step := _expired_step(row, now))]
            self._write_alike(moved)
            transitions = Transition.objects.using(self.alias).bulk_create(
                _transition(row.pk, step.change, NO_NOTE) for row, step in moved if step.change
            )
        return [
            Changed(before=_snapshot(row, monotonic()), step=step, transition=each)
            for (row, step), each in zip(moved, transitions, strict=True)
        ]

    def create_configured(self) -> int:
        """Make the circuits that the settings name and the database lacks; return how many."""
        names = conf.get().circuits.keys()
        present = set(self._all().filter(name__in=names).values_list("name", flat=True))
        for name in names - present:
            self._make(name)
        return len(names - present)

    def check_room(self, name: str) -> None:
        """Check that a person may make one more circuit, without deleting another one for it.

        Raises:
            TooManyCircuitsError: ``MAX_CIRCUITS`` exist.
            django.db.Error: The database cannot be read.
        """
        check_room(name, self.holds_at_least)

    def holds_at_least(self, number: int) -> bool:
        """Return whether at least ``number`` circuits exist.

        Keys count up from 1, so nothing has to be counted while the highest key is below
        ``number``. A new circuit thus costs the same however many there are.
        """
        newest = self._all().order_by("-pk").values_list("pk", flat=True).first()
        return newest is not None and newest >= number and self._all().count() >= number

    def forget_refusals(self) -> int:
        """Let circuits that have refused no call lately rank as steady again; return how many."""
        hour_ago = to_datetime(self.now() - UNSTEADY_SECONDS)
        steady = self._all().filter(urgency=UNSTEADY_URGENCY, refused_at__lte=hour_ago)
        # Read first, since SQLite has one lock for all writers; in the order of the index.
        is_any = steady.order_by("urgency", "name").values_list("pk", flat=True).first()
        return 0 if is_any is None else steady.order_by().update(refused_at=None)

    def beat(self, name: str) -> None:
        """Record that a regular task has just run."""
        beats = Heartbeat.objects.using(self.alias)
        at = to_datetime(self.now())
        if not beats.filter(name=name).update(at=at):
            beats.get_or_create(name=name, defaults={"at": at})

    def last_beat(self, name: str) -> float | None:
        """Return how many seconds ago a regular task last ran; None if it never did."""
        beat = LAST_BEAT.row(self.alias, name=name)
        if beat is None:
            return None
        at: datetime = beat[0]
        now: float = beat[1] / 1_000_000
        # If the clock was set back, the task must not seem to have run in the future.
        return max(0.0, now - to_seconds(at, until=now))

    def _added(self, tally: Tally) -> Changed[Step] | None:
        """Add a tally to the row, its minute and its history, one process at a time."""
        changed = self._spent(tally)  # first, so that the result of a batch shows it
        if tally.batch is not None:
            changed = self._merged(tally.name, tally.batch)
        counts = (tally.successes, tally.failures, tally.refusals, *tally.durations)
        if not any(counts):
            return changed
        now = self.now() if tally.at is None else tally.at
        if not self._add_to_row(tally, now):
            return None  # somebody has deleted the circuit
        if conf.get().statistics_days:
            self._add_to_minute(tally, now)
        for generation, refusals in tally.refused.items():
            if generation:
                refused = {"generation": generation, "refusals": refusals}
                ADD_REFUSALS.run(self.alias, name=tally.name, **refused)
        return changed

    def _add_to_row(self, tally: Tally, now: float) -> int:
        at = tally.last_success_at
        refused = {
            "refusals": tally.refusals,
            "refused_at": to_datetime(now) if tally.refused else None,
            "hour_ago": to_datetime(now - UNSTEADY_SECONDS),
        }
        if at is None and not tally.successes:
            return ADD_REFUSED.run(self.alias, name=tally.name, **refused)
        return ADD_TALLY.run(
            self.alias,
            name=tally.name,
            successes=tally.successes,
            succeeded_by=tally.process,
            last_success_at=to_datetime(now if at is None else at),
            **refused,
        )

    def _spent(self, tally: Tally) -> Changed[Step] | None:
        """Merge the calls and retries of a process into those of the fleet."""
        row = None if tally.spending is None else self._row(LOCK, tally.name)
        if row is None or tally.spending is None:
            return None
        found = _snapshot(row, known_at=monotonic())
        window = budget.merged(found.retry_window, found.policy, found.now, tally.spending)
        SPEND.run(self.alias, name=tally.name, retry_window=window_column(window))
        return Changed(before=replace(found, retry_window=window), step=Step(found.status))

    def _merged(self, name: str, batch: Batch) -> Changed[Step] | None:
        return self._changed(
            name, lambda row: machine.merge(row.status, row.policy, row.now, batch), NO_NOTE
        )

    def _add_to_minute(self, tally: Tally, now: float) -> None:
        minute = int(now // 60)
        calls = {
            "successes": tally.successes,
            "failures": tally.failures,
            "refusals": tally.refusals,
            **dict(zip(BUCKETS, tally.durations, strict=True)),
        }
        if not ADD_TO_MINUTE.run(self.alias, name=tally.name, minute=minute, **calls):
            circuit = self._all().only("pk").get(name=tally.name)
            Minute.objects.using(self.alias).create(circuit=circuit, minute=minute, **calls)

    def _all(self) -> QuerySet[Circuit]:
        return Circuit.objects.using(self.alias)

    def _rows(self) -> QuerySet[Any]:
        return self._all().annotate(db_now=DatabaseNow()).order_by()

    def _still_holds(self, known: Snapshot) -> bool:
        """Return whether the snapshot is still true, by the smallest query that can tell."""
        # In half_open, trials come and go without a new generation.
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
        }

        def note(text: str) -> int:
            return retried(self.alias, lambda: statement.run(self.alias, last_error=text, **values))

        return fitted(self.alias, note, one_line(error)) == 1

    def _due(self, column: str, batch: int, lookups: Mapping[str, Any]) -> list[Any]:
        skip_locked = connections[self.alias].features.has_select_for_update_skip_locked
        return list(
            self._rows()
            .select_for_update(skip_locked=skip_locked)
            .filter(**lookups, **{f"{column}__lte": to_datetime(self.now())})
            # In the order of the index, so that MariaDB reads and locks only the rows it returns.
            .order_by(column)[:batch]
        )

    def _write_alike(self, steps: Iterable[tuple[Circuit, Step]]) -> None:
        """Write steps; those that set the same columns to the same values share one UPDATE."""
        alike: dict[str, tuple[dict[str, Any], list[int]]] = {}
        for row, step in steps:
            old, new = columns_of(status_of(row)), columns_of(step.status)
            changed = {column: new[column] for column in new if new[column] != old[column]}
            # Rows that differ only in their generation can share the UPDATE, since each adds one.
            changed["generation"] = F("generation") + 1
            alike.setdefault(repr(changed), (changed, []))[1].append(row.pk)
        for changed, pks in alike.values():
            self._all().filter(pk__in=pks).update(**changed)

    def _make(self, name: str) -> None:
        """Make the circuit, unless another process has just made it."""
        check_name(name)
        check_room(name, self.holds_at_least, lambda: make_room(self.alias, self.now()))
        # Set here, since the field would ask the clock of the alias that the router names.
        values = {"created_at": to_datetime(self.now()), **values_of_new(self.alias, name)}
        with encodable():
            self._all().get_or_create(name=name, defaults=values)

    def _decided(self, row: Any, decide: Callable[[Snapshot], S], note: Note) -> Changed[S]:
        before = _snapshot(row, known_at=monotonic())
        step = decide(before)
        if step.status is before.status:
            return Changed(before=before, step=step)
        WRITE.run(
            self.alias,
            name=row.name,
            **columns_of(step.status),
            **_noted(note, to_datetime(before.now)),
            goes_down=int(before.status.down_since is None and step.status.down_since is not None),
        )
        if step.change is None:
            return Changed(before=before, step=step, error=note.error)
        transition = _transition(row.id, step.change, note)
        transition.save(using=self.alias)
        return Changed(before=before, step=step, transition=transition, error=note.error)


def in_memory(changed: Changed[S], note: Note) -> Changed[S]:
    """Return a change in memory with an unsaved row of the history, like that of the database."""
    change = changed.step.change
    if change is None:
        return changed
    transition = _transition(0, change, note)
    transition.circuit = Circuit(name=changed.before.name)
    return replace(changed, transition=transition)


# Rows and snapshots ----------------------------------------------------------------------------


def new_circuit(name: str, now: float) -> Snapshot:
    """Return the circuit as its first use would make it.

    Args:
        now: The moment, in seconds on the store's clock.
    """
    values = conf.get().circuit(name)
    return Snapshot(
        name=name,
        status=Status(),
        policy=Policy(**{key: values[key] for key in POLICY_NAMES if key in values}),
        timeout=values.get("timeout", conf.DEFAULT_TIMEOUT),
        failure_statuses=parse_statuses(values.get("failure_statuses", "")) or None,
        now=now,
        read_at=monotonic(),
        known_at=monotonic(),
    )


def _snapshot(row: Any, known_at: float) -> Snapshot:
    return Snapshot(
        name=row.name,
        status=status_of(row),
        policy=policy_of(row),
        timeout=timeout_of(row),
        failure_statuses=parse_statuses(row.failure_statuses) or None,
        now=row.db_now / 1_000_000,
        read_at=monotonic(),
        known_at=known_at,
        key=row.id,
        refused=max(0, row.total_refusals - row.refusals_before),
        last_error=row.last_error,
        recorded_until=None if row.recorded_until is None else to_seconds(row.recorded_until),
        retry_window=window_of(row.retry_window),
    )


def _expired_step(row: Any, now: float) -> Step | None:
    """Return the step that is due by time alone, if there is one."""
    step = _understood(row, lambda row: machine.expire(status_of(row), now))
    return step if step is not None and step.change else None


def _understood(row: Any, read: Callable[[Any], T]) -> T | None:
    """Return ``read(row)``; None if the row has impossible values.

    Such a row, which was written without the app, must not hold up the others of a statement.
    """
    try:
        return read(row)
    except Exception:
        if once_a_minute.is_due("row"):
            logger.exception("The row of the circuit %s cannot be understood; it stays.", row.name)
        return None


def _fitted(alias: str, note: Note, write: Callable[[Note], T]) -> T:
    """Write a note, with ``?`` for characters that the database cannot store."""

    def fit(error: str, reason: str, actor: str) -> T:
        return write(replace(note, error=error, reason=reason, actor=actor))

    return fitted(alias, fit, note.error, note.reason, note.actor)


def _noted(note: Note, now: datetime) -> dict[str, Any]:
    failed = bool(note.error)
    return {
        "last_success_at": now if note.success else None,
        "last_failure_at": now if failed else None,
        "last_error": one_line(note.error) if failed else None,
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
        detail=_detail(change, note),
        actor=one_line(note.actor, ACTOR_LENGTH),
        generation=change.generation,
        at=to_datetime(change.at),
        until=None if change.until is None else to_datetime(change.until),
        pending=_is_news(change) and bool(conf.get().notify),
    )


def _detail(change: Change, note: Note) -> str:
    parts = filter(None, [change.evidence, note.reason or note.error])
    return one_line("; last: ".join(parts))


def _is_news(change: Change) -> bool:
    """Return whether people are to be notified of a change: an opening, or the closing after it."""
    was_closed = change.from_state is State.CLOSED
    is_closed = change.to_state is State.CLOSED
    return is_closed != was_closed and (is_closed or change.to_state is State.OPEN)
