"""Derives the family of a circuit from its name."""

from __future__ import annotations


def family_of(name: str) -> str:
    """Return the family that a name puts its circuit in: the part before the first slash.

    A slash at an end of the name, or two together as in a URL, make no family.

    >>> family_of("payments/refunds")
    'payments'
    >>> family_of("https://pay.example")
    ''
    """
    family, _slash, member = name.partition("/")
    return family if member and not member.startswith("/") else ""
