"""Suggests circuits with similar names for a mistyped one."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from .. import conf
from ..models import Circuit

#: The most names that are suggested, and the most circuits that are compared.
SUGGESTED: Final = 3
LOOKED_AT: Final = 10_000


def near_misses(name: str) -> list[str]:
    """Return the most similar names of existing, configured and declared circuits, best first.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    there = Circuit.objects.using(conf.get().database).order_by("name")
    names = {*there.values_list("name", flat=True)[:LOOKED_AT], *conf.named()} - {name}
    return get_close_matches(name, sorted(names), n=SUGGESTED)
