"""Fixtures for pytest, loaded by the entry point ``circuits``. Imports wait until one is used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _circuits_of_no_other_test() -> Iterator[None]:
    """Make each test begin without circuits of another test, if the app is loaded."""
    if "circuits.process.runtime" in sys.modules:
        sys.modules["circuits.storage.testruns"].begin_test()
    yield
    if "circuits.process.runtime" in sys.modules:
        sys.modules["circuits.storage.testruns"].end_test()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Share the test's connections with other threads, now that its fixtures have made them."""
    if "circuits.process.runtime" in sys.modules:
        sys.modules["circuits.storage.testruns"].lend()
    yield
    if "circuits.process.runtime" in sys.modules:
        sys.modules["circuits.storage.testruns"].take_back()


@pytest.fixture
def circuits_in_memory() -> Iterator[None]:
    """Keep all circuits in memory during the test; no database is asked."""
    from .testing import memory_circuits

    with memory_circuits():
        yield


@pytest.fixture
def override_circuit() -> Iterator[Callable[..., None]]:
    """Put circuits into a state for the test: ``override_circuit("payments", state="open")``."""
    from . import testing

    with ExitStack() as stack:

        def override(name: str, **how: Any) -> None:
            stack.enter_context(testing.override_circuit(name, **how))

        yield override
