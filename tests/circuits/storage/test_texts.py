"""Texts in a database whose encoding lacks some of their characters."""

from __future__ import annotations

import pytest
from django.db import DataError, OperationalError, connections, transaction

from circuits.models import Circuit
from circuits.storage.texts import fitted, in_ascii
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")

ALIAS = "circuits"


class Encoding:
    """A database that can store characters up to a limit; it remembers what it was given."""

    def __init__(self, most: str) -> None:
        self.most, self.given = most, list[tuple[str, ...]]()

    def write(self, *texts: str) -> str:
        self.given.append(texts)
        if max("".join(texts)) > self.most:
            raise DataError("this encoding lacks a character")
        return "written"


@pytest.mark.parametrize(
    ("most", "given"),
    [
        ("\U0010ffff", [("naïve 😀", "€")]),
        ("\uffff", [("naïve 😀", "€"), ("naïve ?", "€")]),
        ("\x7f", [("naïve 😀", "€"), ("naïve ?", "€"), ("naive ?", "?")]),
    ],
)
def test_as_much_of_a_text_is_kept_as_the_database_can_store(
    most: str, given: list[tuple[str, ...]]
) -> None:
    database = Encoding(most)
    assert fitted(ALIAS, database.write, "naïve 😀", "€") == "written"
    assert database.given == given


def test_the_last_character_of_the_smaller_encoding_is_kept() -> None:
    database = Encoding("\uffff")
    fitted(ALIAS, database.write, "\uffff \U00010000")
    assert database.given[-1] == ("\uffff ?",)


def test_a_text_in_ascii_is_written_once() -> None:
    database = Encoding("A")
    with pytest.raises(DataError):
        fitted(ALIAS, database.write, "plain")
    assert database.given == [("plain",)]


def test_a_text_that_the_driver_cannot_encode_is_fitted_too() -> None:
    def write(text: str) -> str:
        return text.encode("latin-1").decode("latin-1")

    assert fitted(ALIAS, write, "café €") == "cafe ?"


def test_another_error_is_not_about_the_text() -> None:
    given: list[str] = []

    def write(text: str) -> None:
        given.append(text)
        raise OperationalError("no answer")

    with pytest.raises(OperationalError, match="no answer"):
        fitted(ALIAS, write, "café")
    assert given == ["café"]


def test_what_was_written_before_in_a_transaction_of_the_site_stays() -> None:
    def write(text: str) -> None:
        with transaction.atomic(using=ALIAS, savepoint=False):
            CircuitFactory.create(name=text)
            if not text.isascii():
                raise DataError("this encoding lacks a character")

    with transaction.atomic(using=ALIAS):
        CircuitFactory.create(name="before")
        fitted(ALIAS, write, "café")
        assert not connections[ALIAS].needs_rollback
    assert set(Circuit.objects.values_list("name", flat=True)) == {"before", "cafe"}


@pytest.mark.parametrize(
    ("text", "plain"), [("Ünïcödé", "Unicode"), ("a€b", "a?b"), ("ﬁ½", "fi"), ("", "")]
)
def test_ascii_has_no_accents_and_is_no_longer(text: str, plain: str) -> None:
    assert in_ascii(text) == plain
