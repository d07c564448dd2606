"""Fixtures and hooks that all tests share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import hypothesis
import pytest
from asgiref.sync import SyncToAsync
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.db import connections
from django.test import Client
from django.test.utils import setup_databases, teardown_databases
from django.utils import translation
from pytest_django import Settings
from pytest_django.plugin import DjangoDbBlocker

from circuits import conf
from circuits.models import Circuit, Heartbeat, Minute, Recording, Transition
from circuits.process import nesting, runtime, threads
from mockapi.hits import hits
from tests.patience import no_time_limits
from tests.serving import project, serving

# --hypothesis-profile chooses it where the same tests run on other versions and databases.
hypothesis.settings.register_profile("brief", max_examples=20)
# For tests.mutants, which asks whether a test fails, not by what simplest example.
hypothesis.settings.register_profile(
    "mutants",
    max_examples=20,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    database=None,
)

#: The fixtures and marks of tests that use a database.
OF_A_DATABASE = {"committed", "db", "project_databases", "site", "transactional_db"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a database server, leave out tests that use no database, since `make test` runs them."""
    if settings.TEST_DATABASE == "sqlite":
        return
    left_out = [item for item in items if not _is_of_a_database(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if _is_of_a_database(item)]


def _is_of_a_database(item: pytest.Item) -> bool:
    is_marked = any(item.get_closest_marker(name) for name in ("django_db", "services"))
    return is_marked or not OF_A_DATABASE.isdisjoint(getattr(item, "fixturenames", ()))


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    """Begin each test as a process that knows no circuit and has no language activated.

    Nor is it inside of a call; a failed one is kept for the calls around it.
    """
    runtime.forget()
    conf.forget_declared()
    for ticket in nesting.held():
        ticket.has_left, ticket.told = True, None
        nesting.is_outside(ticket.gate)  # forgets them all, once none matters
    assert not nesting.held()
    yield
    runtime.forget()
    conf.forget_declared()
    translation.deactivate()


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_modify_db_settings: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[None]:
    """Make the test databases of both aliases, whichever aliases the chosen tests use."""
    with django_db_blocker.unblock():
        with no_time_limits():
            made = setup_databases(verbosity=0, interactive=False)
        yield
        _close_the_pools_connections()
        with no_time_limits():
            teardown_databases(made, verbosity=0)


def _close_the_pools_connections() -> None:
    """Close the connections of the threads that serve async code; one in use blocks the drop."""
    all_at_once = Barrier(threads.THREADS)

    def close(_: int) -> None:
        all_at_once.wait()  # so that no thread takes a second turn and another none
        connections.close_all()

    with ThreadPoolExecutor(threads.THREADS) as callers:
        list(callers.map(partial(threads.wait_in_thread, close), range(threads.THREADS)))
    # And of the one thread in which Django's own async methods ask.
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture
def committed(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let the test use both databases with real commits, and empty the tables afterwards.

    Other threads and processes see what is written, and ``on_commit`` functions run.
    """
    with django_db_blocker.unblock():
        _empty_tables()
        yield
        runtime.forget()
        _empty_tables()
        connections.close_all()


def _empty_tables() -> None:
    of_circuits = (Recording, Minute, Transition, Circuit, Heartbeat)
    for model in (*of_circuits, LogEntry, Session, get_user_model()):
        model._default_manager.all().delete()


@pytest.fixture
def faults_allowed(settings: Settings) -> None:
    """Allow faults to be injected, as a site does in staging."""
    settings.CIRCUITS = {**settings.CIRCUITS, "ALLOW_INJECTION": True}


@pytest.fixture
def ann() -> Client:
    """A test client that is logged in as a superuser."""
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("ann"))
    return client


@pytest.fixture(scope="session")
def _mock_server() -> Iterator[str]:
    with serving(project) as url:
        yield url


@pytest.fixture
def remote(_mock_server: str, caplog: pytest.LogCaptureFixture) -> str:
    """Return the base URL of the project over real HTTP, with the hits of the mock at zero."""
    hits.reset()
    caplog.set_level(logging.CRITICAL, "django.request")
    return _mock_server
