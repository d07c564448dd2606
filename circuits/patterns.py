"""Regular expressions from the settings, checked so that no text can make them run for long."""

from __future__ import annotations

import re
from typing import Final

from .exceptions import InvalidInputError, shown

#: The most characters that a pattern may have.
PATTERN_LENGTH: Final = 500

#: The most ``?``, and ``|`` within groups, that a pattern may have. Each may double its time.
MOST_CHOICES: Final = 5

#: A character class or an escaped character, either of which matches one character.
_ONE: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)

#: The beginning of a group. Its ``?`` does not make anything optional.
_BEGINNING: Final = re.compile(r"\(\?(?:P<\w+>|<?[=!]|>|[a-zA-Z-]*:)")
_FLAGS: Final = re.compile(r"\(\?[a-zA-Z]+\)")

#: A repeat that can backtrack. A possessive one, such as ``\w++``, cannot.
_REPEAT: Final = re.compile(r"(?:[*+]|\{\d*,\d*\})([?+]?)")
_OPTION: Final = re.compile(r"(?<![*+}?])\?(?!\+)")

_REPEATED_GROUP: Final = re.compile(r"\)(?:[*+]|\{\d*,?\d*\})")
_REFERENCE: Final = re.compile(r"\\[1-9]|\(\?P=|\(\?\(|\(\?#")


def compiled(pattern: object) -> re.Pattern[str]:
    r"""Return a compiled pattern whose running time is bounded.

    A pattern that backtracks through all combinations of its repeats can take hours on a text of
    forty letters. So at most one repeat may be followed by something, and no group may be repeated.
    A search then takes time proportional to the square of the text's length at worst.

    >>> compiled(r"cust-\d+").pattern
    'cust-\\d+'

    Raises:
        InvalidInputError: The pattern is not a regular expression, or its time is not bounded.
    """
    if isinstance(pattern, re.Pattern):
        flags, pattern = pattern.flags, pattern.pattern
    else:
        flags = re.UNICODE
    if not isinstance(pattern, str) or not 0 < len(pattern) <= PATTERN_LENGTH:
        raise InvalidInputError(
            f"A pattern must be a text of 1 to {PATTERN_LENGTH} characters, not {shown(pattern)}."
        )
    try:
        result = re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidInputError(f"{shown(pattern)} is no regular expression: {error}.") from None
    _check_time(result)
    return result


def _check_time(pattern: re.Pattern[str]) -> None:
    text = pattern.pattern
    flat = _BEGINNING.sub("(", _FLAGS.sub("", _ONE.sub("x", text)))
    if pattern.flags & re.VERBOSE or _REFERENCE.search(text):
        fix = "write it without the flag x, comments and references to groups"
    elif _REPEATED_GROUP.search(flat):
        fix = "repeat a character or a class, as in [ab]+, and no group"
    elif _repeats(flat) > 1:
        fix = r"give all repeats but one a second +, as in \w++, which never gives anything back"
    elif _choices(flat) > MOST_CHOICES:
        fix = f"use no more than {MOST_CHOICES} of ?, and of | within groups, or several patterns"
    else:
        return
    raise InvalidInputError(f"{shown(text)} might take for ever on some texts; {fix}.")


def _repeats(flat: str) -> int:
    """Return how many repeats can backtrack because something follows them."""
    found = _REPEAT.finditer(flat)
    return sum(repeat[1] != "+" and repeat.end() < len(flat) for repeat in found)


def _choices(flat: str) -> int:
    choices = len(_OPTION.findall(flat))
    depth = 0
    for character in flat:
        depth += (character == "(") - (character == ")")
        choices += character == "|" and depth > 0
    return choices
