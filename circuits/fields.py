"""Model fields and database functions that mean the same on every database."""

from __future__ import annotations

from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Func
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .exceptions import InvalidInputError
from .hosts import check_probe_host
from .validation import NAME_LENGTH, check_name, check_probe_url, parse_statuses


def validate_name(value: str) -> None:
    """Refuse what cannot be a circuit's name."""
    try:
        check_name(value)
    except InvalidInputError as error:
        raise ValidationError(error.worded(gettext), code="invalid_name") from error


def validate_number(value: float) -> None:
    """Refuse "not a number", which no comparison with a limit would."""
    if value != value:
        raise ValidationError(_("Enter a number."), code="not_a_number")


def validate_probe_url(value: str) -> None:
    """Refuse what cannot be kept as a probe URL, or leads to a host that no probe may call."""
    try:
        check_probe_host(check_probe_url(value))
    except InvalidInputError as error:
        raise ValidationError(error.worded(gettext), code="invalid_probe_url") from error


def validate_statuses(value: str) -> None:
    """Refuse what does not list HTTP statuses."""
    try:
        parse_statuses(value)
    except InvalidInputError as error:
        raise ValidationError(error.worded(gettext), code="invalid_statuses") from error


class NameField(models.CharField):  # type: ignore[type-arg]
    """A name that is the same only if it is the same to the letter, on MySQL and MariaDB too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", NAME_LENGTH)
        super().__init__(*args, **kwargs)

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, str | None]:
        """Ask for a binary collation where the default one ignores case and accents."""
        parameters: dict[str, Any] = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["collation"] = "utf8mb4_bin"
        return parameters


#: The database's clock, read at the moment a row is, as microseconds since 1970 UTC. Not Django's
#: ``Now()``: on PostgreSQL and MySQL that is when the statement began, before it waited for a row
#: lock, and on MySQL it is in the connection's time zone.
NOW_SQL: Final = {
    "sqlite": "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000",
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)",
    # UTC when the statement began, and what has passed since.
    "mysql": (
        "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
        " + TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6)))"
    ),
}


class DatabaseNow(Func):
    """The expression of :data:`NOW_SQL`, for an annotation."""

    arity = 0
    output_field = models.BigIntegerField()

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **context: Any) -> Any:
        """Render the database's own way to read its clock."""
        return super().as_sql(compiler, connection, template=NOW_SQL[connection.vendor])
