"""Writes texts to a database whose encoding lacks some of their characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, TypeVar

from django.db import Error, connections, transaction

from .errors import is_bad_value

T = TypeVar("T")


def fitted(alias: str, write: Callable[..., T], *texts: str) -> T:
    """Write texts, with ``?`` in place of each character that the database cannot store.

    Args:
        alias: The database's alias.
        write: Called with the texts. If the database refuses their characters, it is called again
            without emoji, and then with ASCII only.
        texts: The texts to write.

    Returns:
        The result of ``write``.

    Raises:
        django.db.Error: Writing failed for another reason.
    """
    if all(map(str.isascii, texts)):
        return write(*texts)  # every encoding has ASCII
    for fit in _FITS:
        try:
            with unbroken(alias):
                return write(*map(fit, texts))
        except (Error, UnicodeError) as error:
            if not is_bad_value(error):
                raise
    return write(*map(in_ascii, texts))


def unbroken(alias: str) -> AbstractContextManager[None]:
    """Set a savepoint in a transaction of the site's, which a failed statement would break."""
    shared = connections[alias].in_atomic_block
    return transaction.atomic(using=alias) if shared else nullcontext()


def in_ascii(text: str) -> str:
    """Return a text in ASCII, without accents, with ``?`` for other characters, and no longer."""
    plain = "".join(
        character
        for character in unicodedata.normalize("NFKD", text)
        if not unicodedata.combining(character)
    )
    return plain.encode("ascii", "replace").decode("ascii")[: len(text)]


def _without_emoji(text: str) -> str:
    """Return a text with ``?`` for each character that MySQL's ``utf8mb3`` cannot store."""
    return "".join(character if character <= "\uffff" else "?" for character in text)


_FITS: Final[tuple[Callable[[str], str], ...]] = (str, _without_emoji)
