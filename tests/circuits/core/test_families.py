"""The family that a name puts its circuit in."""

from __future__ import annotations

import pytest

from circuits.core.families import family_of


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("payments/refunds", "payments"),
        ("payments/refunds/eu", "payments"),
        ("a/b", "a"),
        ("payments", ""),
        ("payments/", ""),
        ("/refunds", ""),
        ("payments//refunds", ""),
        ("https://pay.example", ""),
        ("", ""),
    ],
)
def test_the_family_is_the_part_before_the_first_slash(name: str, family: str) -> None:
    assert family_of(name) == family
