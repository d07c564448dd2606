"""Compiles queries once for each database, not at every use.

Django writes the SQL, as for any query. But that takes longer than the database takes to answer,
and the few statements that calls wait for never change. So they are compiled with
:class:`Parameter` in place of the values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from django.core.signals import setting_changed
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression, Field, JSONField, QuerySet
from django.db.models.sql import UpdateQuery
from django.db.models.sql.compiler import SQLCompiler

from .errors import encodable

#: The types that every driver accepts as they are.
_PLAIN: Final = frozenset({str, int})


class Parameter(Expression):
    """The placeholder of a value that is given when the statement runs.

    Args:
        name: The name under which the value is given.
        output_field: The field it is compared with or written to; it adapts the value.
    """

    def __init__(self, name: str, output_field: Field[Any, Any]) -> None:
        super().__init__(output_field=output_field)
        self.name = name
        self._is_json = isinstance(output_field, JSONField)

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        """Return a placeholder, with this object among the parameters in place of the value."""
        return "%s", [self]

    def adapted(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        """Return a value in the form that the database's driver takes."""
        if type(value) in _PLAIN and not self._is_json:
            return value  # most values are of these types, which the field would not change
        return self.output_field.get_db_prep_save(value, connection)


class _Compiled:
    """A statement in the SQL of one database. It keeps no connection."""

    def __init__(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> None:
        sql, params = compiler.as_sql()
        self.sql: Final[str] = str(sql)
        self._params: Final[tuple[Any, ...]] = tuple(params)
        self._parameters: Final = {
            each.name: each for each in self._params if isinstance(each, Parameter)
        }
        selected = [each for each, _sql, _alias in compiler.select or ()]
        self._converted: Final = [
            (index, each) for index, each in enumerate(selected) if _converters(each, connection)
        ]

    def params(self, values: Mapping[str, Any], connection: BaseDatabaseWrapper) -> list[Any]:
        """Return the parameters, with the values in their places."""
        given = {
            name: parameter.adapted(values[name], connection)
            for name, parameter in self._parameters.items()
        }
        return [given[each.name] if isinstance(each, Parameter) else each for each in self._params]

    def converted(self, found: Sequence[Any], connection: BaseDatabaseWrapper) -> list[Any]:
        """Return a row from the driver, converted as the models' fields do it."""
        row = list(found)
        for index, expression in self._converted:
            if row[index] is None:
                continue  # and stays so
            for convert in _converters(expression, connection):
                row[index] = convert(row[index], expression, connection)
        return row


def _converters(expression: Any, connection: BaseDatabaseWrapper) -> list[Any]:
    return [
        *connection.ops.get_db_converters(expression),
        *expression.get_db_converters(connection),
    ]


class _Statement:
    def __init__(self) -> None:
        self._compiled: dict[str, _Compiled] = {}
        setting_changed.connect(self._forget)

    def _forget(self, **_: object) -> None:
        """Forget the compiled SQL: a changed setting may mean other databases or time zones."""
        self._compiled = {}

    def _compiler(self, alias: str) -> SQLCompiler:
        raise NotImplementedError

    def _on(self, alias: str, connection: BaseDatabaseWrapper) -> _Compiled:
        compiled = self._compiled.get(alias)
        if compiled is None:
            compiled = _Compiled(self._compiler(alias), connection)
            self._compiled[alias] = compiled
        return compiled


class Select(_Statement):
    """A query for one row.

    Args:
        rows: Returns the query on a database alias, as a ``values_list`` with parameters in it.
    """

    def __init__(self, rows: Callable[[str], QuerySet[Any, Any]]) -> None:
        super().__init__()
        self._rows = rows

    def _compiler(self, alias: str) -> SQLCompiler:
        compiler: SQLCompiler = self._rows(alias).query.get_compiler(alias)
        return compiler

    def row(self, alias: str, **values: Any) -> list[Any] | None:
        """Run the query and return its first row; None if there is none."""
        connection = connections[alias]
        compiled = self._on(alias, connection)
        with connection.cursor() as cursor, encodable():
            cursor.execute(compiled.sql, compiled.params(values, connection))
            found = cursor.fetchone()
        return None if found is None else compiled.converted(found, connection)


class Update(_Statement):
    """An update of the rows that a query finds.

    Args:
        rows: Returns the query on a database alias, with parameters in it.
        columns: The value, or expression, to set each column to.
    """

    def __init__(self, rows: Callable[[str], QuerySet[Any]], columns: Mapping[str, Any]) -> None:
        super().__init__()
        self._rows = rows
        self._columns = columns

    def _compiler(self, alias: str) -> SQLCompiler:
        query = cast(UpdateQuery, self._rows(alias).query.chain(UpdateQuery))
        query.add_update_values(dict(self._columns))
        compiler: SQLCompiler = query.get_compiler(alias)
        return compiler

    def run(self, alias: str, **values: Any) -> int:
        """Run the update and return how many rows it matched."""
        connection = connections[alias]
        compiled = self._on(alias, connection)
        unbroken = transaction.mark_for_rollback_on_error(alias)
        with unbroken, connection.cursor() as cursor, encodable():
            cursor.execute(compiled.sql, compiled.params(values, connection))
            return int(cursor.rowcount)
