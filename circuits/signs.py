"""Finds characters that are invisible or look like others, and so make two names look the same.

It follows Unicode Technical Standard 39, as far as ``unicodedata`` has its data.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

#: The inside of a character class for characters that are invisible, or visible only by their
#: effect on others: joiners, direction marks, fillers, tags and variation selectors.
INVISIBLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff"
)

_HIDDEN: Final = re.compile(f"[{INVISIBLE}]")

#: Scripts some of whose letters look like Latin ones.
_LIKE_LATIN: Final = frozenset(
    {"ARMENIAN", "CHEROKEE", "COPTIC", "CYRILLIC", "DESERET", "GEORGIAN", "GREEK", "LISU"}
)

_WORD: Final = re.compile(r"[^\W\d_]+")


def deceptive(text: str) -> list[str]:
    """Return the characters of a text that are invisible or look like others.

    Besides invisible characters, these are spaces other than the plain one, other forms of ASCII
    letters and digits, accents that are separate from their letter, and letters of a script such as
    Cyrillic in a word that also has Latin letters. A word in one script is left alone.

    >>> [ascii(character) for character in deceptive("p\\u0430y\\u200bments")]
    ["'\\\\u0430'", "'\\\\u200b'"]
    """
    if text.isascii():
        return []
    mixed = {at.start() + index for at in _WORD.finditer(text) for index in _mixed_in(at.group())}
    accents = unicodedata.normalize("NFC", text) != text
    return [
        character
        for index, character in enumerate(text)
        if index in mixed
        or _passes_for_ascii(character)
        or (accents and unicodedata.combining(character))
    ]


def spelled(character: str) -> str:
    """Return the code point of a character, such as ``U+200B``."""
    return f"U+{ord(character):04X}"


def spelled_out(text: str) -> str:
    """Return a text with its deceptive characters replaced by their code points."""
    signs = set(deceptive(text))
    return "".join(spelled(each) if each in signs else each for each in text) if signs else text


def _mixed_in(word: str) -> list[int]:
    """Return the indexes of letters that look like Latin ones in a word that has Latin ones too."""
    scripts = [unicodedata.name(letter, "").partition(" ")[0] for letter in word]
    if "LATIN" not in scripts:
        return []
    return [index for index, script in enumerate(scripts) if script in _LIKE_LATIN]


def _passes_for_ascii(character: str) -> bool:
    if character.isascii():
        return False
    if _HIDDEN.match(character) or unicodedata.category(character) in ("Cf", "Zs"):
        return True
    plain = unicodedata.normalize("NFKC", character)
    return len(plain) == 1 and plain.isascii()
