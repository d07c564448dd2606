"""How a circuit is kept in its row: the columns, and the statements that calls wait for."""

from __future__ import annotations

import logging
from collections import namedtuple
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from math import inf
from operator import attrgetter
from typing import Any, Final

from django.conf import settings
from django.db.models import F, Model, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from .conf import DEFAULT_TIMEOUT, TIMEOUT_LIMITS
from .exceptions import InvalidInputError
from .fields import DatabaseNow
from .machine import (
    POLICY_NAMES,
    Lease,
    Mode,
    Policy,
    State,
    Status,
    check_number,
    check_policy_value,
)
from .models import Circuit, Minute, Transition
from .statements import Parameter, Select, Update
from .windows import EMPTY, Bucket, Window

logger = logging.getLogger("circuits")

# Moments ---------------------------------------------------------------------------------------


def to_datetime(seconds: float) -> datetime:
    """Return seconds since 1970 as the kind of datetime the site's settings ask for."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment if settings.USE_TZ else moment.astimezone(_zone()).replace(tzinfo=None)


def to_seconds(moment: datetime, *, until: float = -inf, since: float = -inf) -> float:
    """Return a datetime from the database as seconds since 1970.

    Without ``USE_TZ`` the hour in which clocks go back is in the database twice, and nothing there
    says which is meant. The earlier is, unless that cannot be.

    Args:
        until: The later is meant if it is not after this: a moment in the past is a recent one.
        since: The later is meant if the earlier is before this.
    """
    if settings.USE_TZ:
        return moment.timestamp()
    earlier, later = sorted(
        moment.replace(tzinfo=_zone(), fold=fold).timestamp() for fold in (0, 1)
    )
    return later if later <= until or earlier < since else earlier


def _zone() -> tzinfo:
    # Not the active one: that may be another in each request, and the database's is always this.
    return timezone.get_default_timezone()


def _optional(convert: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else convert(value)


# What a row says -------------------------------------------------------------------------------


def status_of(row: Any) -> Status:
    """Return where a circuit stands, from its row or its model, read with ``db_now``."""

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
        retry_at=None if row.retry_at is None else to_seconds(row.retry_at, since=since),
        reopen_count=row.reopen_count,
        trial_successes=row.trial_successes,
        leases=tuple(Lease(token, expires_at) for token, expires_at in row.leases),
        recovered_at=past(row.recovered_at),
        window=_window(row.window),
        changed_at=changed_at,
        mode_until=None
        if row.mode_until is None
        else to_seconds(row.mode_until, since=changed_at or -inf),
    )


def columns_of(status: Status) -> dict[str, Any]:
    """Return a status as the row keeps it."""
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
        "mode_until": _optional(to_datetime, status.mode_until),
    }


def glance_of(status: Status) -> list[Any]:
    """Return what a row's :data:`GLANCE` is while nothing happens to it."""
    return [status.state, status.mode, status.generation, status.failure_count]


def policy_of(row: Any) -> Policy:
    """Return the policy in a circuit's row or model, with a default for a value that cannot be.

    Forms, settings and commands refuse such a value; this is for what was written past them.
    """
    policy, problems = _policy(_policy_values(row))
    for problem in problems:
        _complain_once(row.name, problem)
    return policy


_policy_values: Final = attrgetter(*POLICY_NAMES)


@lru_cache(maxsize=1_000)  # it is read with every snapshot and next to never another one
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


def timeout_of(row: Any) -> float:
    """Return the timeout in a circuit's row in seconds, the default for one that cannot be."""
    try:
        check_number("timeout", row.timeout, TIMEOUT_LIMITS, whole=False)
    except InvalidInputError as error:
        _complain_once(row.name, str(error))
        return DEFAULT_TIMEOUT
    return float(row.timeout)


def _window(kept: dict[str, Any] | None) -> Window:
    if kept is None:
        return EMPTY
    return Window(tuple(Bucket(*bucket) for bucket in kept["buckets"]), kept["recent"])


def _window_column(window: Window) -> dict[str, Any] | None:
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
    )
    return _closed(alias).filter(below | young | Q(mode=Mode.FORCED_CLOSED.value))


def _or_kept(column: str) -> Coalesce:
    """What is given, or the column as it is where that is None."""
    return Coalesce(_given(column), F(column))


def _latest(column: str) -> Coalesce:
    given = _given("last_success_at")
    return Coalesce(Greatest(F(column), given), given, F(column))


_FAILURE: Final = {
    "last_attempt_at": _given("last_failure_at"),
    "last_failure_at": _given("last_failure_at"),
    "last_error": _given("last_error"),
    "total_failures": F("total_failures") + 1,
}

READ: Final = Select(_read)

#: What tells whether anything has happened to a circuit, unless it is half open.
GLANCE: Final = Select(
    lambda alias: _named(alias).values_list("state", "mode", "generation", "failure_count")
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
    },
)

#: Counts a failure that opens nothing: the machine's opening rule turned round. A run that began
#: between ``young_after`` and ``young_before`` is too young to be believed; None believes them all.
COUNT_FAILURE: Final = Update(
    _harmless,
    {
        "failure_count": F("failure_count") + 1,
        "run_started_at": Coalesce("run_started_at", _given("last_failure_at")),
        **_FAILURE,
    },
)

NOTE_FAILURE: Final = Update(_closed, _FAILURE)

CLEAR_FAILURES: Final = Update(
    lambda alias: _closed(alias).filter(failure_count__gt=0),
    {"failure_count": 0, "run_started_at": None},
)

ADD_TALLY: Final = Update(
    _named,
    {
        "total_successes": F("total_successes") + _given("total_successes", "successes"),
        "total_refusals": F("total_refusals") + _given("total_refusals", "refusals"),
        "last_attempt_at": _latest("last_attempt_at"),
        "last_success_at": _latest("last_success_at"),
    },
)


def _of_circuit(model: type[Model], alias: str) -> QuerySet[Any]:
    keys = _named(alias).values("pk")
    return model._default_manager.using(alias).filter(circuit_id=Subquery(keys)).order_by()


ADD_TO_MINUTE: Final = Update(
    lambda alias: _of_circuit(Minute, alias).filter(minute=_given("minute", model=Minute)),
    {
        column: F(column) + _given(column, model=Minute)
        for column in ("successes", "failures", "refusals")
    },
)

ADD_REFUSALS: Final = Update(
    lambda alias: _of_circuit(Transition, alias).filter(
        generation=_given("generation", model=Transition)
    ),
    {"refusals": F("refusals") + _given("refusals", model=Transition)},
)
