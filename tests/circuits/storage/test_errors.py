"""What the databases' own errors mean: a conflict, an answer, or no answer at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from django.db import DatabaseError, DataError, Error, OperationalError, connections, transaction

from circuits.models import Circuit
from circuits.storage import errors
from circuits.storage.errors import code_of, encodable, is_bad_value, is_conflict, remedy
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")

#: The statement that makes a server raise an error with a given code.
RAISING = {
    "postgresql": "DO $$ BEGIN RAISE EXCEPTION 'told to' USING ERRCODE = '{}'; END $$",
    "mysql": "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {}, MESSAGE_TEXT = 'told to'",
}
#: SQLite cannot raise a given error; these statements cause some.
SQLITE = {1: "SELECT * FROM no_such_table", 18: "SELECT zeroblob(2000000000)"}

CONFLICT, BAD_VALUE, OUTAGE = "conflict", "bad value", "outage"
CODES: dict[str, dict[Any, str]] = {
    "postgresql": {
        "40001": CONFLICT,
        "40P01": CONFLICT,
        "22P05": BAD_VALUE,
        "22001": BAD_VALUE,
        "57014": OUTAGE,
        "23505": OUTAGE,
    },
    "mysql": {
        1213: CONFLICT,
        1020: CONFLICT,
        1267: BAD_VALUE,
        1366: BAD_VALUE,
        1406: BAD_VALUE,
        3988: BAD_VALUE,
        1205: OUTAGE,
        1062: OUTAGE,
    },
    # Of its conflicts and outages below: they take two connections.
    "sqlite": {18: BAD_VALUE, 1: OUTAGE},
}
OURS = CODES[connections["circuits"].vendor]


def raised(code: Any) -> Error:
    connection = connections["circuits"]
    sql = RAISING.get(connection.vendor, "").format(code) or SQLITE[code]
    with pytest.raises(DatabaseError) as caught, connection.cursor() as cursor:
        cursor.execute(sql)
    return caught.value


def kind_of(error: Error) -> str:
    if is_bad_value(error):
        return BAD_VALUE
    return CONFLICT if is_conflict(error) else OUTAGE


def test_an_error_means_what_its_code_says() -> None:
    assert {code: kind_of(raised(code)) for code in OURS} == OURS


def test_an_error_has_the_databases_own_code() -> None:
    assert [code_of(raised(code)) for code in OURS] == list(OURS)


def test_a_text_that_no_encoding_has_is_a_bad_value() -> None:
    with (
        pytest.raises(DataError) as caught,
        connections["circuits"].cursor() as cursor,
        encodable(),
    ):
        cursor.execute("SELECT %s", ["\ud800"])
    assert is_bad_value(caught.value)


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
    raised = [OperationalError(1213, "Deadlock found")]

    def work() -> str:
        if raised:
            raise raised.pop()
        return "done"

    assert errors.retried("circuits", work) == "done"
    assert "Another transaction was in the way" in caplog.text


class Conflicts:
    """Work that meets a conflict a number of times before it succeeds."""

    def __init__(self, number: int, error: OperationalError) -> None:
        self.left, self.attempts, self.error = number, 0, error

    def __call__(self) -> int:
        self.attempts += 1
        if self.left:
            self.left -= 1
            raise self.error
        return self.attempts


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Collect the seconds that are waited between attempts; nobody waits."""
    seconds: list[float] = []
    monkeypatch.setattr("circuits.storage.errors.time.sleep", seconds.append)
    monkeypatch.setattr(errors, "random", lambda: 0.5)
    return seconds


def test_a_conflict_is_tried_again_after_pauses_that_grow(pauses: list[float]) -> None:
    conflicts = Conflicts(errors.ATTEMPTS - 1, OperationalError(1213, "Deadlock found"))
    assert errors.retried("circuits", conflicts) == errors.ATTEMPTS
    assert pauses == [errors.PAUSE * each for each in (0.5, 1, 1.5)]


def test_one_conflict_too_many_is_raised(pauses: list[float]) -> None:
    conflicts = Conflicts(errors.ATTEMPTS, OperationalError(1213, "Deadlock found"))
    with pytest.raises(OperationalError, match="Deadlock"):
        errors.retried("circuits", conflicts)
    assert conflicts.attempts == errors.ATTEMPTS


def test_an_outage_is_not_tried_again(pauses: list[float]) -> None:
    outage = Conflicts(1, OperationalError(2006, "Server has gone away"))
    with pytest.raises(OperationalError, match="gone away"):
        errors.retried("circuits", outage)
    assert (outage.attempts, pauses) == (1, [])


def test_a_conflict_in_a_transaction_of_the_site_is_not_tried_again(pauses: list[float]) -> None:
    conflict = Conflicts(1, OperationalError(1213, "Deadlock found"))
    with transaction.atomic(using="circuits"), pytest.raises(OperationalError):
        errors.retried("circuits", conflict)
    assert (conflict.attempts, pauses) == (1, [])


@pytest.mark.parametrize("name", ["sqlstate", "pgcode", "sqlite_errorcode"])
def test_a_driver_keeps_the_code_at_the_cause_of_the_error(name: str) -> None:
    cause, error = Exception(), OperationalError("failed")
    setattr(cause, name, "40001")
    error.__cause__ = cause
    assert code_of(error) == "40001"
    assert is_conflict(error)


def test_a_database_that_does_not_answer_leaves_it_in_doubt() -> None:
    assert str(errors.SilentError()) == "it has been asked and does not answer"
    assert code_of(errors.SilentError()) is None


def test_a_connection_is_not_closed_under_somebodys_transaction() -> None:
    with transaction.atomic(using="circuits"):
        CircuitFactory.create(name="payments")
        errors.drop_connection("circuits")
        assert Circuit.objects.count() == 1
    assert Circuit.objects.count() == 1
    before = connections["circuits"].connection
    errors.drop_connection("circuits")
    assert Circuit.objects.count() == 1
    assert connections["circuits"].connection is not before


def test_tables_that_are_not_there_are_to_be_made_and_others_are_not_ours() -> None:
    def help_for(table: str) -> str:
        with pytest.raises(DatabaseError) as caught, connections["circuits"].cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table}")
        return remedy(caught.value)

    with connections["circuits"].schema_editor() as editor:
        editor.alter_db_table(Circuit, "circuits_circuit", "elsewhere")
    try:
        assert "manage.py migrate" in help_for("circuits_circuit")
        assert help_for("shop_order") == ""
    finally:
        with connections["circuits"].schema_editor() as editor:
            editor.alter_db_table(Circuit, "elsewhere", "circuits_circuit")
