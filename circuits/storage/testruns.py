"""Keeps a site's tests from touching its real circuits, or those of another test.

Django's test runner and pytest-django both call ``setup_test_environment``. Once that has been
called,

- a circuits' database that the runner has not replaced by a test database is never queried;
- nothing is written in the background: a tally is written only if the test calls ``flush()``;
- the process forgets all circuits before and after each test;
- other threads, including those of async code, use the test's own connection if no other one can
  see the test's changes.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import RLock, current_thread
from typing import TYPE_CHECKING, Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .. import conf
from . import identity

if TYPE_CHECKING:
    from unittest import TestCase, TestResult

#: The functions to call before and after each test.
_forgetters: Final[list[Callable[[], None]]] = []

#: Django's own way to open a connection, which a test runner replaces to forbid it.
_unguarded: Callable[..., Any] = BaseDatabaseWrapper.ensure_connection
_is_noted = False

_is_noticed = False
_is_in_memory = False


def forgets(forget: Callable[[], None]) -> Callable[[], None]:
    """Register a function to call before and after each test."""
    _forgetters.append(forget)
    return forget


def note_unguarded() -> None:
    """Remember Django's own way to open a connection, before a test runner replaces it.

    Later calls do nothing, since a test that overrides ``INSTALLED_APPS`` loads the app again.
    """
    global _unguarded, _is_noted
    if not _is_noted:
        _unguarded, _is_noted = BaseDatabaseWrapper.ensure_connection, True


def database(alias: str) -> object:
    """Return the name of the database that an alias leads to now, which test runners change."""
    return connections.settings[alias]["NAME"]


def is_on() -> bool:
    """Return whether this process runs tests, or has run any."""
    return _is_noticed or _notice()


def keep_in_memory() -> None:
    """Keep the circuits of all tests in memory, as ``TEST_IN_MEMORY`` does."""
    global _is_in_memory
    _is_in_memory = True


def is_in_memory(alias: str) -> bool:
    """Return whether a test keeps its circuits in memory.

    It does if the site asks for that, or if the alias still leads to the real database. But if the
    runner forbids the test to use that database, the runner's own error should appear.
    """
    if not is_on():
        return False
    if _is_in_memory or conf.get().test_in_memory:
        return True
    is_guarded = BaseDatabaseWrapper.ensure_connection is not _unguarded
    return not is_guarded and not identity.is_renamed(alias) and not _is_for_tests(alias)


def _is_for_tests(alias: str) -> bool:
    """Return whether the settings give the test database the same name as the real one."""
    settings = connections.settings[alias]
    return bool(settings["NAME"] == settings.get("TEST", {}).get("NAME"))


def begin_test() -> None:
    """Forget what earlier tests did, and lend this thread's connections to the other threads."""
    global _is_noticed
    _is_noticed = True
    end_test()
    lend()


def end_test() -> None:
    """Forget what the test did, and close the connection, so that the database can be dropped."""
    take_back()
    for forget in _forgetters:
        forget()
    for each in connections.all(initialized_only=True):
        if each.alias == conf.alias() and not each.in_atomic_block:
            each.close()


def _notice() -> bool:
    global _is_noticed
    utils = sys.modules.get("django.test.utils")
    if not hasattr(getattr(utils, "_TestState", None), "saved_data"):
        return False
    _is_noticed = True
    if "circuits.pytest_plugin" not in sys.modules:
        _watch_unittest()
    if current_thread() is threading.main_thread():
        lend()
    return True


def _watch_unittest() -> None:
    """Begin and end each test under a runner that does not know of circuits."""
    from unittest import TestCase

    run = TestCase.run

    @wraps(run)
    def run_alone(self: TestCase, result: TestResult | None = None) -> TestResult | None:
        begin_test()
        try:
            return run(self, result)
        finally:
            end_test()

    TestCase.run = run_alone  # type: ignore[method-assign]


# The test's own connection ------------------------------------------------------------------------

#: The connections of the thread that runs the tests, by alias.
_lent: Final[dict[str, Any]] = {}

#: Held by the thread that uses a lent connection, one at a time.
_turn = RLock()


def lend() -> None:
    """Let other threads use this thread's connections."""
    _lent.clear()
    # No new connection is made, because it would keep the settings of this moment.
    _lent.update({each.alias: each for each in connections.all(initialized_only=True)})


def take_back() -> None:
    """Stop lending connections, before the runner rolls them back or closes them.

    This waits for a thread in the middle of a statement. A thread that outlives its test uses a
    connection of its own from then on.
    """
    with _turn:
        _lent.clear()


def forget() -> None:
    """Forget the lent connections in a forked child, which has its own."""
    global _turn
    _turn = RLock()
    _lent.clear()


def connection(alias: str) -> Any:
    """Return the connection that sees the test's changes, which usually is this thread's own."""
    return _shared(alias) or connections[alias]


def _shared(alias: str) -> Any:
    """Return the test's connection if only that one can be used; else None.

    Another connection would not see uncommitted changes and would wait for the test's locks. With
    SQLite in memory, it would find the tables locked.
    """
    lent = _lent.get(alias)
    if lent is None:
        return None
    is_in_memory = lent.vendor == "sqlite" and lent.is_in_memory_db()
    return lent if lent.in_atomic_block or is_in_memory else None


@contextmanager
def using(alias: str) -> Iterator[None]:
    """Use the connection that sees the test's changes, and close one that only this thread uses.

    A test database with an open connection cannot be dropped.
    """
    own = connections[alias]
    if _shared(alias) is not None:
        with _turn, _in_place_of(own, connection(alias)):  # by now it may have been taken back
            yield
    elif own.connection is not None or _lent.get(alias) is own:
        yield
    else:
        try:
            yield
        finally:
            own.close()


@contextmanager
def _in_place_of(own: Any, other: Any) -> Iterator[None]:
    if other is own:
        yield
        return
    other.inc_thread_sharing()
    connections[own.alias] = other
    try:
        yield
    finally:
        connections[own.alias] = own
        other.dec_thread_sharing()
