"""What a case is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.measure import Effort
from bench.results import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Something that is measured.

    Args:
        run: Measures it, on databases that are there and migrated.
        needs: The servers it needs, by their names in :mod:`tests.services`.
    """

    name: str
    run: Callable[[Effort], Result]
    needs: tuple[str, ...] = ()
