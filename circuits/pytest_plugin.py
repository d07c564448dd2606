"""Fixtures for pytest, by the entry point ``circuits``. Nothing is imported before one is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest


@pytest.fixture
def circuits_in_memory() -> Iterator[None]:
    """Keep every circuit in memory for the test: no database is asked."""
    from circuits.testing import memory_circuits

    with memory_circuits():
        yield


@pytest.fixture
def override_circuit() -> Iterator[Callable[..., None]]:
    """Put circuits in a state for the test: ``override_circuit("payments", state="open")``."""
    from circuits import testing

    with ExitStack() as stack:

        def override(name: str, **how: Any) -> None:
            stack.enter_context(testing.override_circuit(name, **how))

        yield override
