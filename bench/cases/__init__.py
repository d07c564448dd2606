"""The cases, in the order in which they are run and told of."""

from __future__ import annotations

from typing import Final

from . import hot, refusal, strict
from .case import Case

CASES: Final[tuple[Case, ...]] = (hot.CASE, strict.CASE, refusal.CASE)
