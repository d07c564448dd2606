"""Converts times between seconds since 1970, as code has them, and datetimes, as models do."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from math import inf

from django.conf import settings
from django.utils import timezone


def to_datetime(seconds: float) -> datetime:
    """Return a time as a datetime: aware with ``USE_TZ``, naive without."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment if settings.USE_TZ else moment.astimezone(_zone()).replace(tzinfo=None)


def to_seconds(moment: datetime, *, until: float = -inf, since: float = -inf) -> float:
    """Return a datetime from the database as seconds since 1970.

    Without ``USE_TZ``, a datetime in the hour that clocks repeat in autumn can mean two times. The
    earlier one is returned, unless the arguments say otherwise.

    Args:
        until: Return the later time if it is not after this one.
        since: Return the later time if the earlier one is before this one.
    """
    if settings.USE_TZ:
        return moment.timestamp()
    earlier, later = sorted(
        moment.replace(tzinfo=_zone(), fold=fold).timestamp() for fold in (0, 1)
    )
    return later if later <= until or earlier < since else earlier


def aware(moment: datetime) -> datetime:
    """Return a datetime from the database with its time zone, which it lacks without ``USE_TZ``."""
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment, _zone())


def _zone() -> tzinfo:
    # Not the active time zone, which differs by request: the database always uses the default.
    return timezone.get_default_timezone()
