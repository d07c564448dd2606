"""What the databases' own errors mean: a conflict, an answer, or no answer at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from django.db import DatabaseError, Error, OperationalError, connections

from circuits import dberrors
from circuits.dberrors import code_of, is_conflict
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")

#: What makes the database at hand raise an error with a code.
RAISING = {
    "postgresql": "DO $$ BEGIN RAISE EXCEPTION 'told to' USING ERRCODE = '{}'; END $$",
    "mysql": "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {}, MESSAGE_TEXT = 'told to'",
}
CODES: dict[str, dict[Any, bool]] = {
    "postgresql": {"40001": True, "40P01": True, "57014": False, "23505": False},
    "mysql": {1213: True, 1020: True, 1205: False, 1062: False},
}


def raised(code: object) -> Error:
    connection = connections["circuits"]
    with pytest.raises(DatabaseError) as caught, connection.cursor() as cursor:
        cursor.execute(RAISING[connection.vendor].format(code))
    return caught.value


def test_a_conflict_is_known_by_its_code() -> None:
    codes = CODES.get(connections["circuits"].vendor, {})
    assert {code: is_conflict(raised(code)) for code in codes} == codes


def test_an_error_has_the_databases_own_code() -> None:
    for code in CODES.get(connections["circuits"].vendor, {}):
        assert code_of(raised(code)) == code


def test_an_error_of_the_driver_has_none() -> None:
    assert code_of(OperationalError("the connection is closed")) is None
    assert code_of(OperationalError(2013, "Lost connection to server during query")) is None


@pytest.mark.skipif(connections["circuits"].vendor != "sqlite", reason="the others lock rows")
def test_in_sqlite_to_write_on_an_old_read_is_a_conflict_and_a_busy_file_is_none() -> None:
    CircuitFactory.create(name="payments")
    connection = connections["circuits"]
    with (
        closing(sqlite3.connect(connection.settings_dict["NAME"], timeout=0)) as other,
        connection.cursor() as cursor,
    ):
        cursor.execute("PRAGMA busy_timeout = 0")
        cursor.execute("BEGIN DEFERRED")
        cursor.execute("SELECT name FROM circuits_circuit")
        cursor.fetchall()
        other.execute("UPDATE circuits_circuit SET threshold = 6")
        with pytest.raises(OperationalError, match="locked") as busy:
            cursor.execute("UPDATE circuits_circuit SET threshold = 7")
        other.commit()
        with pytest.raises(OperationalError, match="locked") as stale:
            cursor.execute("UPDATE circuits_circuit SET threshold = 7")
        cursor.execute("ROLLBACK")
    assert (is_conflict(busy.value), is_conflict(stale.value)) == (False, True)
    connection.close()


def test_what_is_tried_again_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "circuits")
    errors = [OperationalError(1213, "Deadlock found")]

    def work() -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert dberrors.retried("circuits", work) == "done"
    assert "Another transaction was in the way" in caplog.text
