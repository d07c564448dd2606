"""The row of a circuit, and the SQL that reads and writes it."""

from __future__ import annotations

import logging
from collections import namedtuple
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple
from datetime import datetime
from functools import lru_cache
from math import inf
from operator import attrgetter
from typing import Any, Final

from django.db.models import Case, F, Model, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce, Greatest

from .. import conf
from ..conf import DEFAULT_TIMEOUT, TIMEOUT_LIMITS
from ..core.conviction import MANY
from ..core.injection import Injection, under_way
from ..core.policy import POLICY_NAMES, Limits, Policy, check_number, check_policy_value
from ..core.status import Lease, Mode, Quarantine, State, Status
from ..core.windows import EMPTY, Bucket, Window
from ..exceptions import InvalidInputError
from ..fields import DatabaseNow
from ..models import BUCKETS, Circuit, Heartbeat, Minute, Transition
from ..moments import to_datetime, to_seconds
from .statements import Parameter, Select, Update

logger = logging.getLogger("circuits")


def _optional(convert: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else convert(value)


# Values of a row -------------------------------------------------------------------------------


def status_of(row: Any) -> Status:
    """Return the status in a circuit's row or model instance, which was read with ``db_now``."""

    def past(moment: datetime | None) -> float | None:
        return None if moment is None else to_seconds(moment, until=row.db_now / 1_000_000)

    opened_at = past(row.opened_at)
    since = -inf if opened_at is None else opened_at
    changed_at = past(row.state_changed_at)
    return Status(
        state=State(row.state),
        mode=Mode(row.mode),
        generation=row.generation,
        failure_count=row.failure_count,
        run_started_at=past(row.run_started_at),
        opened_at=opened_at,
        down_since=past(row.down_since),
        retry_at=None if row.retry_at is None else to_seconds(row.retry_at, since=since),
        reopen_count=row.reopen_count,
        trial_successes=row.trial_successes,
        leases=tuple(Lease(token, expires_at) for token, expires_at in row.leases),
        recovered_at=past(row.recovered_at),
        window=window_of(row.window),
        changed_at=changed_at,
        mode_until=None
        if row.mode_until is None
        else to_seconds(row.mode_until, since=changed_at or -inf),
        run_by=row.run_by,
        accuser=row.accuser,
        quarantines=tuple(Quarantine(*each) for each in row.quarantines or ()),
        last_success_at=past(row.last_success_at),
        succeeded_by=row.succeeded_by,
        other_succeeded_at=past(row.other_succeeded_at),
        injection=_injection(row, changed_at),
    )


def _injection(row: Any, changed_at: float | None) -> Injection | None:
    if row.injected_until is None:
        return None
    until = to_seconds(row.injected_until, since=-inf if changed_at is None else changed_at)
    return Injection(row.injected_failures, row.injected_delay, until)


def injection_of(row: Any) -> Injection | None:
    """Return the faults that are injected into the calls of a circuit at present.

    Args:
        row: A row or model instance, which was read with ``db_now``.

    Returns:
        None if there are none, or if the settings do not allow any.
    """
    if row.injected_until is None or not conf.get().allow_injection:
        return None
    return under_way(status_of(row).injection, row.db_now / 1_000_000)


def columns_of(status: Status) -> dict[str, Any]:
    """Return a status as values of the row's columns, by name."""
    faults = status.injection
    return {
        "state": status.state.value,
        "mode": status.mode.value,
        "generation": status.generation,
        "failure_count": status.failure_count,
        "run_started_at": _optional(to_datetime, status.run_started_at),
        "opened_at": _optional(to_datetime, status.opened_at),
        "down_since": _optional(to_datetime, status.down_since),
        "retry_at": _optional(to_datetime, status.retry_at),
        "reopen_count": status.reopen_count,
        "trial_successes": status.trial_successes,
        "leases": [[lease.token, lease.expires_at] for lease in status.leases],
        "recovered_at": _optional(to_datetime, status.recovered_at),
        "window": window_column(status.window),
        "state_changed_at": _optional(to_datetime, status.changed_at),
        "mode_until": _optional(to_datetime, status.mode_until),
        "run_by": status.run_by,
        "accuser": status.accuser,
        "quarantines": [list(astuple(each)) for each in status.quarantines] or None,
        "succeeded_by": status.succeeded_by,
        "other_succeeded_at": _optional(to_datetime, status.other_succeeded_at),
        "injected_failures": 0.0 if faults is None else faults.failures,
        "injected_delay": 0.0 if faults is None else faults.delay,
        "injected_until": None if faults is None else to_datetime(faults.until),
    }


def glance_of(status: Status) -> list[Any]:
    """Return what :data:`GLANCE` reads from a row that still has this status."""
    return [status.state, status.mode, status.generation, status.failure_count, status.accuser]


def policy_of(row: Any) -> Policy:
    """Return the policy in a circuit's row or model, with defaults for impossible values.

    Forms, settings and commands refuse such values, but a row may have been written without them.
    """
    policy, problems = _policy(_policy_values(row))
    for problem in problems:
        _complain_once(row.name, problem)
    return policy


_policy_values: Final = attrgetter(*POLICY_NAMES)


@lru_cache(maxsize=1_000)  # every snapshot has a policy, and it hardly ever changes
def _policy(values: tuple[Any, ...]) -> tuple[Policy, tuple[str, ...]]:
    good, problems = {}, []
    for column, value in zip(POLICY_NAMES, values, strict=True):
        try:
            check_policy_value(column, value)
        except InvalidInputError as error:
            problems.append(str(error))
        else:
            good[column] = value
    return Policy(**good), tuple(problems)


@lru_cache(maxsize=1_000)
def _complain_once(name: str, problem: str) -> None:
    logger.error("The row of the circuit %s: %s The default is used instead.", name, problem)


#: Old rows may hold timeouts up to an hour, which was the limit before.
_STORED_TIMEOUTS: Final = Limits(TIMEOUT_LIMITS.least, 3600)


def timeout_of(row: Any) -> float:
    """Return the timeout in a circuit's row, in seconds; the default for an impossible one."""
    try:
        check_number("timeout", row.timeout, _STORED_TIMEOUTS, whole=False)
    except InvalidInputError as error:
        _complain_once(row.name, str(error))
        return DEFAULT_TIMEOUT
    return min(float(row.timeout), TIMEOUT_LIMITS.most)


def window_of(kept: dict[str, Any] | None) -> Window:
    """Return a window from its column."""
    if kept is None:
        return EMPTY
    return Window(tuple(Bucket(*bucket) for bucket in kept["buckets"]), kept["recent"])


def window_column(window: Window) -> dict[str, Any] | None:
    """Return a window as the value of its column."""
    if window == EMPTY:
        return None
    return {"buckets": window.buckets, "recent": window.recent}


# The statements: a parameter has its column's name, unless two of them share the column ----------

STATUS_COLUMNS: Final = tuple(columns_of(Status()))

_COLUMNS: Final = (
    "id",
    "name",
    "timeout",
    "failure_statuses",
    *POLICY_NAMES,
    *STATUS_COLUMNS,
    "last_success_at",
    "last_error",
    "total_refusals",
    "refusals_before",
    "recorded_until",
    "retry_window",
    "db_now",
)

#: A row as READ and LOCK return it; ``db_now`` is the database's clock in microseconds since 1970.
Row: Any = namedtuple("Row", _COLUMNS)  # type: ignore[misc]


def _given(column: str, name: str = "", model: type[Model] = Circuit) -> Parameter:
    return Parameter(name or column, model._meta.get_field(column))  # type: ignore[arg-type]


def _named(alias: str) -> QuerySet[Circuit]:
    return Circuit.objects.using(alias).filter(name=_given("name")).order_by()


def _read(alias: str) -> QuerySet[Circuit, Any]:
    return _named(alias).annotate(db_now=DatabaseNow()).values_list(*_COLUMNS)


def _closed(alias: str) -> QuerySet[Circuit]:
    return _named(alias).filter(generation=_given("generation"), state=State.CLOSED.value)


def _harmless(alias: str) -> QuerySet[Circuit]:
    below = Q(failure_count__lt=F("threshold") - 1)
    young = Q(
        run_started_at__gt=_given("run_started_at", "young_after"),
        run_started_at__lt=_given("run_started_at", "young_before"),
    ) & ~Q(run_by=_given("run_by", "process"))
    harmless = below | young | Q(mode=Mode.FORCED_CLOSED.value)
    return _closed(alias).filter(harmless, quarantines__isnull=True)


def _or_kept(column: str) -> Coalesce:
    """Return an expression for the value given, or for the column itself if that is None."""
    return Coalesce(_given(column), F(column))


def _latest(column: str) -> Coalesce:
    given = _given("last_success_at")
    return Coalesce(Greatest(F(column), given), given)  # on some databases, NULL is the greatest


_IS_LATE: Final = Q(last_success_at__gt=_given("last_success_at"))

#: The columns on who last succeeded, after a success of this process. MariaDB sets one column after
#: the other, and each sees the new values of those before it, so the order matters.
_SUCCEEDED: Final = {
    "other_succeeded_at": Case(
        When(succeeded_by=_given("succeeded_by"), then=F("other_succeeded_at")),
        When(_IS_LATE, then=_latest("other_succeeded_at")),
        default=F("last_success_at"),
    ),
    "succeeded_by": Case(
        When(_IS_LATE, then=F("succeeded_by")),
        default=_given("succeeded_by"),
        output_field=Circuit._meta.get_field("succeeded_by"),
    ),
    "last_success_at": _latest("last_success_at"),
}

#: The processes that take part in the run of failures, once this one does.
_RUN_BY: Final = Case(
    When(failure_count=0, then=_given("run_by", "process")),
    When(run_by=_given("run_by", "process"), then=_given("run_by", "process")),
    default=Value(MANY),
    output_field=Circuit._meta.get_field("run_by"),
)

_FAILURE: Final = {
    "last_attempt_at": _given("last_failure_at"),
    "last_failure_at": _given("last_failure_at"),
    "last_error": _given("last_error"),
    "total_failures": F("total_failures") + 1,
}

READ: Final = Select(_read)


def read_named(alias: str, names: Sequence[str]) -> Iterable[Any]:
    """Return the rows of the circuits that exist, each as READ returns it."""
    circuits = Circuit.objects.using(alias).filter(name__in=names).order_by()
    return map(Row._make, circuits.annotate(db_now=DatabaseNow()).values_list(*_COLUMNS))


#: Reads the columns that tell whether a circuit has changed, unless it is half open.
GLANCE: Final = Select(
    lambda alias: _named(alias).values_list(
        "state", "mode", "generation", "failure_count", "accuser"
    )
)

LOCK: Final = Select(lambda alias: _read(alias).select_for_update())

WRITE: Final = Update(
    _named,
    {
        **{column: _given(column) for column in STATUS_COLUMNS},
        "last_attempt_at": Coalesce(
            _given("last_success_at"), _given("last_failure_at"), F("last_attempt_at")
        ),
        **{
            column: _or_kept(column)
            for column in ("last_success_at", "last_failure_at", "last_error")
        },
        "total_failures": F("total_failures") + _given("total_failures", "failures"),
        # Set when the circuit goes down, by a 1. The calls refused since then are the difference.
        "refusals_before": F("refusals_before")
        + _given("refusals_before", "goes_down") * (F("total_refusals") - F("refusals_before")),
    },
)

#: Counts a failure that cannot open the circuit: the opposite of the machine's opening rule. A run
#: that began between ``young_after`` and ``young_before`` is too young to be believed; with None,
#: every run is believed. The machine judges runs of a single process, and processes in quarantine.
COUNT_FAILURE: Final = Update(
    _harmless,
    {
        "run_by": _RUN_BY,
        "failure_count": F("failure_count") + 1,
        "run_started_at": Coalesce("run_started_at", _given("last_failure_at")),
        **_FAILURE,
    },
)

NOTE_FAILURE: Final = Update(_closed, _FAILURE)

#: Clears a run for which no process accuses the remote. The machine decides about accusations.
CLEAR_FAILURES: Final = Update(
    lambda alias: _closed(alias).filter(failure_count__gt=0, accuser=""),
    {
        **_SUCCEEDED,
        "failure_count": 0,
        "run_started_at": None,
        "run_by": "",
    },
)

_REFUSALS: Final = {
    "total_refusals": F("total_refusals") + _given("total_refusals", "refusals"),
    # Forgotten after an hour, so that the list's order needs no clock.
    "refused_at": Coalesce(
        _given("refused_at"),
        Case(When(refused_at__gt=_given("refused_at", "hour_ago"), then=F("refused_at"))),
        output_field=Circuit._meta.get_field("refused_at"),
    ),
}

#: Adds a tally that has at least one success.
ADD_TALLY: Final = Update(
    _named,
    {
        **_REFUSALS,
        "total_successes": F("total_successes") + _given("total_successes", "successes"),
        "last_attempt_at": _latest("last_attempt_at"),
        **_SUCCEEDED,
    },
)

#: Adds a tally without successes.
ADD_REFUSED: Final = Update(_named, _REFUSALS)


#: Writes the recent calls and retries, which are merged under the row's lock.
SPEND: Final = Update(_named, {"retry_window": _given("retry_window")})

#: Reads when a regular task last ran, and the database's clock.
LAST_BEAT: Final = Select(
    lambda alias: (
        Heartbeat.objects.using(alias)
        .filter(name=_given("name", model=Heartbeat))
        .annotate(db_now=DatabaseNow())
        .order_by()
        .values_list("at", "db_now")
    )
)


def _of_circuit(model: type[Model], alias: str) -> QuerySet[Any]:
    keys = _named(alias).values("pk")[:1]  # a name has one circuit, but Django does not know that
    return model._default_manager.using(alias).filter(circuit_id=Subquery(keys)).order_by()


ADD_TO_MINUTE: Final = Update(
    lambda alias: _of_circuit(Minute, alias).filter(minute=_given("minute", model=Minute)),
    {
        column: F(column) + _given(column, model=Minute)
        for column in ("successes", "failures", "refusals", *BUCKETS)
    },
)

ADD_REFUSALS: Final = Update(
    lambda alias: _of_circuit(Transition, alias).filter(
        generation=_given("generation", model=Transition)
    ),
    {"refusals": F("refusals") + _given("refusals", model=Transition)},
)
