"""What all tests share."""

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
from pytest_django.plugin import DjangoDbBlocker

from circuits import conf
from circuits.models import Circuit, Heartbeat, Minute, Recording, Transition
from circuits.process import runtime, threads
from mockapi.hits import hits
from tests.patience import no_time_limits
from tests.serving import project, serving

# For the same tests on other versions and databases, by --hypothesis-profile.
hypothesis.settings.register_profile("brief", max_examples=20)

#: What a test asks for that says something of a database.
OF_A_DATABASE = {"committed", "db", "project_databases", "site", "transactional_db"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a server, leave out what never reaches a database: `make test` has run it."""
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
    """Let each test begin as a process that knows of no circuit, nor of anybody's language."""
    runtime.forget()
    conf.forget_declared()
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
    """Make the test databases of both aliases, whichever the chosen tests are marked with."""
    with django_db_blocker.unblock():
        with no_time_limits():
            made = setup_databases(verbosity=0, interactive=False)
        yield
        _close_the_pools_connections()
        with no_time_limits():
            teardown_databases(made, verbosity=0)


def _close_the_pools_connections() -> None:
    """Close those of the threads that wait for async code: a database in use cannot be dropped."""
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
    """Give the test both databases with real commits, and empty the tables it may fill.

    Other threads and processes see what is written, and what runs on commit runs.
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
def ann() -> Client:
    """The browser of a superuser."""
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("ann"))
    return client


@pytest.fixture(scope="session")
def _mock_server() -> Iterator[str]:
    with serving(project) as url:
        yield url


@pytest.fixture
def remote(_mock_server: str, caplog: pytest.LogCaptureFixture) -> str:
    """The base URL of the project served over real HTTP, with the mock's hits at zero."""
    hits.reset()
    caplog.set_level(logging.CRITICAL, "django.request")
    return _mock_server
