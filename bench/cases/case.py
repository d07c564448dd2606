"""The definition of a case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.measure import Effort
from bench.results import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that the benchmarks measure.

    Args:
        run: Measures it, on databases that exist and are migrated.
        needs: The names of the servers it needs, as in :mod:`tests.services`.
    """

    name: str
    run: Callable[[Effort], Result]
    needs: tuple[str, ...] = ()
