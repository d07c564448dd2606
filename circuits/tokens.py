"""Recognises words that a machine made at random: keys, tokens, hashes, UUIDs."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

#: A word shorter than this is never taken for a token.
SHORTEST: Final = 8

#: If runs of one case or of digits are shorter than this on average, no person wrote the word.
_DENSE: Final = 2.4

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_HEX: Final = re.compile(r"[0-9a-f]{16,}", re.IGNORECASE)
_WORD: Final = re.compile(r"[^\W_]+")
_RUN: Final = re.compile(r"[A-Za-z]+|[0-9]+")
_CASED_RUN: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")

#: Words that people write although letters and digits alternate: times and sizes.
_WRITTEN: Final = re.compile(r"\d{8}T\d{4,6}Z?|\d+x\d+\w?", re.IGNORECASE)


def looks_random(segment: str) -> bool:
    """Return whether a segment of a path looks like a token, or contains a word that does.

    >>> looks_random("x9Ck2PpQ7secretZ1"), looks_random("customers"), looks_random("2024-05-01")
    (True, False, False)

    Numbers are never taken for tokens, and UUIDs always are.
    """
    if len(segment) < SHORTEST:
        return False
    text = unquote(segment)
    if _UUID.search(text):
        return True
    words = _WORD.findall(text)
    return any(map(_is_drawn, words)) or _is_dense("".join(words), 2.2)


def _is_drawn(word: str) -> bool:
    if len(word) < SHORTEST or not word.isascii() or word.isdigit() or _WRITTEN.fullmatch(word):
        return False
    if word.isalpha():
        return _is_gibberish(word)
    runs = len(_RUN.findall(word))
    return (
        runs >= 4
        or (runs == 3 and len(word) >= 20)
        or (word.isupper() and len(word) >= 16)
        or _HEX.fullmatch(word) is not None
        or _mean_run(word) < _DENSE
        or _is_dense(word, 2.7)
    )


def _is_dense(word: str, most: float) -> bool:
    """Return whether a long word changes so often between letters, digits and cases."""
    return len(word) >= 2 * SHORTEST and not word.isalpha() and _mean_run(word) < most


def _mean_run(word: str) -> float:
    return len(word) / (len(_CASED_RUN.findall(word)) or 1)


def _is_gibberish(word: str) -> bool:
    """Return whether letters form no word: the case changes too often, or vowels are too few."""
    if len(word) < 12:
        return False
    vowels = sum(letter in "aeiouyAEIOUY" for letter in word) / len(word)
    if word.islower() or word.isupper() or word.istitle():
        return len(word) >= 16 and vowels < 0.25
    run = _mean_run(word)
    return run < _DENSE or (run < 3.5 and vowels < 0.33)
