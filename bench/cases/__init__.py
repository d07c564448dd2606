"""The cases, in the order in which they run and are reported."""

from __future__ import annotations

from typing import Final

from . import (
    change,
    contention,
    coroutine,
    failure,
    fleet,
    hot,
    http,
    imports,
    load,
    many,
    pulse,
    refusal,
    silence,
    strict,
)
from .case import Case

CASES: Final[tuple[Case, ...]] = (
    hot.CASE,
    http.CASE,
    coroutine.CASE,
    strict.CASE,
    refusal.CASE,
    failure.CASE,
    change.CASE,
    contention.CASE,
    load.CASE,
    many.CASE,
    fleet.CASE,
    imports.CASE,
    pulse.CASE,
    silence.CASE,
)
