"""The limit on the number of circuits, and how room is made for a new one.

Names made from the input of visitors, such as ``{host}``, may come as a flood. It must neither fill
the database, nor have every new name refused until somebody deletes rows. So once there are
``MAX_CIRCUITS``, the least used idle circuits are deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from django.db import connections, transaction
from django.db.models import DateTimeField, F, ProtectedError, Q, QuerySet, RestrictedError
from django.db.models.functions import Coalesce

from .. import conf
from ..core.status import Mode, State
from ..exceptions import TooManyCircuitsError
from ..models import POLICY_FIELDS, Circuit
from ..moments import to_datetime
from ..once_a_minute import is_due
from .errors import retried
from .families import alike, headless

logger = logging.getLogger("circuits")

#: Seconds without a call after which a circuit is idle. Never less than two flushes, or circuits in
#: use would seem idle.
IDLE_SECONDS: Final = 30.0

DAY: Final = 86_400.0

#: The share of all circuits to delete at once, so that not every new name has to search for idle
#: ones, and the most circuits to delete at once.
SHARE: Final = 0.01
MOST: Final = 100


def check_room(
    name: str, holds_at_least: Callable[[int], bool], make: Callable[[], int] = lambda: 0
) -> None:
    """Check that there may be one more circuit. All code that makes a circuit asks here.

    Args:
        name: The name of the new circuit.
        holds_at_least: Returns whether at least a number of circuits exist.
        make: Deletes circuits to make room for the new one, and returns how many.

    Raises:
        TooManyCircuitsError: ``MAX_CIRCUITS`` exist, and none could be deleted.
    """
    limit = conf.get().max_circuits
    if holds_at_least(limit) and not make():
        raise TooManyCircuitsError(name, limit)


def make_room(alias: str, now: float) -> int:
    """Delete some idle circuits that do not differ from new ones; return how many.

    A circuit stays if somebody has set its mode or policy, if the settings name it, or if one of
    its changes is still in the outbox.

    Args:
        alias: The circuits' database.
        now: The moment, in seconds since 1970 on that database's clock.

    Raises:
        django.db.Error: The database does not answer.
    """
    unused = _unused(alias, to_datetime(now - _idle_seconds()))
    idle = unused.filter(**_new_policy()) | alike(unused)
    uses = F("total_successes") + F("total_failures") + F("total_refusals")
    some = max(1, min(MOST, int(conf.get().max_circuits * SHARE)))
    keys = list(idle.order_by(uses, "used_at", "pk").values_list("pk", flat=True)[:some])
    try:
        deleted = retried(alias, lambda: _delete(alias, idle.filter(pk__in=keys))) if keys else 0
    except (ProtectedError, RestrictedError):
        return 0  # rows of the site's own models refer to them
    if deleted and is_due("room"):
        logger.warning(
            "There are %d circuits, so those used least are deleted to make room for new names. "
            "Use fewer names, or raise CIRCUITS['MAX_CIRCUITS'].",
            conf.get().max_circuits,
        )
    return deleted


def prune_idle(alias: str, now: float) -> int:
    """Delete some members of families that no call has used for ``IDLE_DAYS``; return how many.

    A member stays if it is down or steered, if its policy is not that of its family, or if
    settings or code name it.

    Args:
        alias: The circuits' database.
        now: The moment, in seconds since 1970 on that database's clock.

    Raises:
        django.db.Error: The database does not answer.
    """
    seconds = max(conf.get().idle_days * DAY, _idle_seconds())
    unused = _unused(alias, to_datetime(now - seconds)).filter(state=State.CLOSED.value)
    unnamed = unused.filter(family__gt="").exclude(name__in=conf.named())
    idle = alike(unnamed) | headless(unnamed).filter(**_new_policy())
    keys = list(idle.values_list("pk", flat=True)[:MOST])
    try:
        return retried(alias, lambda: _delete(alias, idle.filter(pk__in=keys))) if keys else 0
    except (ProtectedError, RestrictedError):
        return 0  # rows of the site's own models refer to them


def _idle_seconds() -> float:
    return max(IDLE_SECONDS, 2 * conf.get().flush_seconds)


def _unused(alias: str, since: datetime) -> QuerySet[Any]:
    """Return the circuits not used since ``since`` that are neither down nor steered."""
    is_over = Q(state=State.CLOSED.value) | Q(state_changed_at__lt=since, leases=[])
    return (
        Circuit.objects.using(alias)
        .alias(used_at=Coalesce("last_attempt_at", "created_at", output_field=DateTimeField()))
        .filter(is_over, used_at__lt=since, mode=Mode.AUTOMATIC.value)
        .filter(Q(retry_at=None) | Q(retry_at__lt=since))
        .exclude(name__in=conf.get().circuits)
        .exclude(pk__in=_to_be_told())
        .order_by()
    )


def _to_be_told() -> QuerySet[Any]:
    return Circuit.objects.filter(transitions__pending=True).order_by().values("pk")


def _new_policy() -> dict[str, Any]:
    """Return the policy that a new circuit has."""
    new = Circuit()
    return {name: getattr(new, name) for name in POLICY_FIELDS} | dict(conf.get().defaults)


def _delete(alias: str, idle: QuerySet[Any]) -> int:
    """Delete those circuits that are still idle, under their locks; skip locked ones."""
    skip_locked = connections[alias].features.has_select_for_update_skip_locked
    with transaction.atomic(using=alias):
        rows = idle.select_for_update(skip_locked=skip_locked)
        keys = list(rows.values_list("pk", flat=True))
        Circuit.objects.using(alias).filter(pk__in=keys).delete()
    return len(keys)
