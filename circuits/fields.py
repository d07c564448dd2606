"""Model fields and database functions that mean the same on every database."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from django.core.exceptions import ValidationError
from django.db import connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet
from django.db.models.expressions import Func
from django.db.models.functions import Now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .core.families import family_of
from .exceptions import InvalidInputError
from .hosts import check_probe_host
from .moments import to_datetime
from .validation import NAME_LENGTH, check_name, check_probe_url, parse_statuses

M = TypeVar("M", bound=models.Model)


def validate_name(value: str) -> None:
    """Validate the name of a circuit."""
    try:
        check_name(value)
    except InvalidInputError as error:
        raise ValidationError(error.worded(gettext), code="invalid_name") from error


def validate_number(value: float) -> None:
    """Refuse NaN, which compares false with every limit and so would pass them all."""
    if value != value:
        raise ValidationError(_("Enter a number."), code="not_a_number")


def validate_probe_url(value: str) -> None:
    """Validate a probe URL, and that ``PROBE_HOSTS`` allows its host."""
    try:
        check_probe_host(check_probe_url(value))
    except InvalidInputError as error:
        raise ValidationError(error.worded(gettext), code="invalid_probe_url") from error


def validate_statuses(value: str) -> None:
    """Validate a list of HTTP statuses such as ``500-599, 429``."""
    try:
        parse_statuses(value)
    except InvalidInputError as error:
        raise ValidationError(error.worded(gettext), code="invalid_statuses") from error


class NameField(models.CharField):  # type: ignore[type-arg]
    """A name that is compared exactly, on MySQL and MariaDB too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", NAME_LENGTH)
        super().__init__(*args, **kwargs)

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, str | None]:
        """Ask for a binary collation where the default one ignores case and accents."""
        parameters: dict[str, Any] = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["collation"] = "utf8mb4_bin"
        return parameters


class FamilyField(NameField):
    """The family of a circuit, derived from its name whenever the circuit is saved."""

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Return the family that the name belongs to, and set it on the instance."""
        family = family_of(getattr(model_instance, "name", ""))
        setattr(model_instance, self.attname, family)
        return family


#: SQL for the database's clock at the moment a row is read, in microseconds since 1970 UTC.
#: Django's ``Now()`` will not do: on PostgreSQL and MySQL it is the time at which the statement
#: began, before it waited for a row lock, and on MySQL it is in the connection's time zone.
NOW_SQL: Final = {
    "sqlite": "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000",
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)",
    # The time in UTC at which the statement began, plus the time that has passed since.
    "mysql": (
        "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
        " + TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6)))"
    ),
}


class DatabaseNow(Func):
    """The database's clock as an annotation; see :data:`NOW_SQL`."""

    arity = 0
    output_field = models.BigIntegerField()

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **context: Any) -> Any:
        """Render the database's own way to read its clock."""
        return super().as_sql(compiler, connection, template=NOW_SQL[connection.vendor])


def with_clock(rows: QuerySet[M]) -> Any:
    """Return a query for the same rows, each with the database's clock as ``db_now``.

    A cache of queries, such as django-cachalot, would later answer with an old time. It does not
    cache a query with Django's own ``Now()``, so that is annotated too.
    """
    return rows.annotate(db_now=DatabaseNow(), db_now_is_never_cached=Now())


def database_now(connection: BaseDatabaseWrapper) -> float:
    """Return the database's clock, in seconds since 1970."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {NOW_SQL[connection.vendor]}")
        return float(cursor.fetchone()[0]) / 1_000_000


class MadeAtField(models.DateTimeField):  # type: ignore[type-arg]
    """The time at which a row was made, by the database's clock, since a worker's may be wrong.

    A given value is kept. To migrations, this is a plain ``DateTimeField``.
    """

    def deconstruct(self) -> Any:
        """Return the field that the migrations know."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, kwargs

    def get_default(self) -> None:
        """Return None: the value is set when the row is written."""

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Return the given time or else the database's, and set it on the instance."""
        moment = super().pre_save(model_instance, add)
        if moment is None:
            alias = router.db_for_write(type(model_instance), instance=model_instance)
            moment = to_datetime(database_now(connections[alias]))
            setattr(model_instance, self.attname, moment)
        return moment

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        """Return the value to write. A fixture's row comes here without :meth:`pre_save`."""
        moment = to_datetime(database_now(connection)) if value is None else value
        return super().get_db_prep_save(moment, connection)
