"""Callers ask the database by a worker's connection, which the worker can cut off."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from threading import Barrier, Event, get_ident
from time import monotonic
from typing import Final, TypeVar

import pytest
from django.db import Error, connections
from pytest_django import Settings

from circuits.exceptions import InvalidInputError
from circuits.process.patience import answer_of, is_over
from circuits.process.pulse import Pulse
from circuits.process.workers import MOST, Workers
from circuits.storage.errors import SilentError
from tests.circuits.process.sockets import Connection
from tests.clock import Clock
from tests.concurrency import PATIENCE, in_threads, wait_until

pytestmark = pytest.mark.usefixtures("committed", "sockets")

T = TypeVar("T")

ALIAS: Final = "circuits"

SESSION: Final = {
    "sqlite": "SELECT session()",
    "postgresql": "SELECT pg_backend_pid()",
    "mysql": "SELECT CONNECTION_ID()",
}
SLEEP: Final = {
    "sqlite": "SELECT sleep({})",
    "postgresql": "SELECT pg_sleep({})",
    "mysql": "SELECT SLEEP({})",
}


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the connections to SQLite a socket, which those to a server have anyway."""
    connection = connections[ALIAS]
    if connection.vendor == "sqlite":
        connection.close()
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "factory", Connection)
    yield
    connection.close()


class Site:
    """A process's workers and pulse, as the runtime has them, and what its callers ask."""

    def __init__(self) -> None:
        self.go = Event()
        self.pulse = Pulse(lambda: self.go.wait(PATIENCE), lambda: None)
        self.workers = Workers(lambda asked_at: is_over(asked_at, self.pulse))

    def ask(self, work: Callable[[], T]) -> T:
        return answer_of(work, self.workers, self.pulse)

    def thread(self) -> int:
        """Return the thread that asks for a caller."""
        return self.ask(get_ident)

    def connect(self) -> None:
        """Have a worker connect, and wait until it lends its connection."""
        self.session()
        wait_until(lambda: self.thread() == get_ident())

    def session(self) -> int:
        """Return the server's number of the session in which a caller asks."""
        return self.ask(lambda: query(SESSION))

    def sleep(self, seconds: float) -> int:
        """Ask for an answer that comes after some seconds."""
        return self.ask(lambda: query(SLEEP, seconds))

    def close(self) -> None:
        """Close the connections of all workers, so that the database can be dropped."""
        self.go.set()
        self.pulse.stop()
        barrier = Barrier(MOST)

        def close() -> None:
            barrier.wait(PATIENCE)
            connections.close_all()

        closing = [self.workers.submit(close) for _ in range(MOST)]
        for _ in range(MOST):
            self.workers.grow()
        assert all(each.wait(PATIENCE) for each in closing)


def query(sql: Mapping[str, str], *values: float) -> int:
    connection = connections[ALIAS]
    with connection.cursor() as cursor:
        cursor.execute(sql[connection.vendor].format(*values))
        row = cursor.fetchone()
    return int(row[0] or 0)


@pytest.fixture
def site() -> Iterator[Site]:
    """Yield a site of which one worker has connected."""
    made = Site()
    made.connect()
    yield made
    made.close()


def test_a_worker_connects_and_then_callers_ask_by_its_connection() -> None:
    site = Site()
    assert site.thread() != get_ident(), "a connection is opened where nobody need wait for it"
    site.connect()
    session = site.session()
    assert site.thread() == get_ident()
    assert site.session() == session
    site.close()


def test_the_callers_own_connection_stays_its_own(site: Site) -> None:
    own = query(SESSION)
    with pytest.raises(Error):
        site.ask(lambda: query(dict.fromkeys(SESSION, "SELECT nothing")))
    assert query(SESSION) == own != site.session()


def test_callers_in_many_threads_share_few_connections(site: Site) -> None:
    sessions = in_threads(16, lambda index: {site.session() for _ in range(20)})
    assert 1 <= len(set().union(*sessions)) <= MOST


def test_a_caller_is_cut_off_once_it_has_waited_long_enough(site: Site, settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "STORE_WAIT_SECONDS": 0.3}
    began = monotonic()
    with pytest.raises(SilentError):
        site.sleep(PATIENCE)
    assert 0.3 <= monotonic() - began < PATIENCE / 2


def test_a_caller_is_cut_off_once_the_pulse_has_noticed(site: Site, settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "STORE_WAIT_SECONDS": 3600}
    site.pulse.ensure_running()
    site.pulse.look_soon()
    wait_until(site.pulse.is_silent)
    began = monotonic()
    with pytest.raises(SilentError):
        site.sleep(PATIENCE)
    assert monotonic() - began < PATIENCE / 2


def test_a_quick_answer_is_not_cut_off_if_only_the_pulse_has_none(site: Site) -> None:
    site.pulse.ensure_running()
    site.pulse.look_soon()
    wait_until(site.pulse.is_silent)
    session = site.session()
    assert {site.session() for _ in range(50)} == {session}


def test_an_answer_that_comes_in_time_is_not_cut_off(site: Site, settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "STORE_WAIT_SECONDS": PATIENCE}
    session = site.session()
    site.sleep(0.3)
    assert site.session() == session


def test_a_worker_opens_a_new_connection_after_one_was_cut_off(
    site: Site, settings: Settings
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "STORE_WAIT_SECONDS": 0.2}
    session = site.session()
    with pytest.raises(SilentError):
        site.sleep(PATIENCE)
    settings.CIRCUITS = {**settings.CIRCUITS, "STORE_WAIT_SECONDS": PATIENCE}
    assert site.thread() != get_ident()
    site.connect()
    assert site.session() != session


def test_work_that_goes_on_after_the_cut_leaves_no_broken_connection(
    site: Site, settings: Settings
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "STORE_WAIT_SECONDS": 0.2}

    def wait_and_do_no_more() -> str:
        with suppress(Error):
            query(SLEEP, PATIENCE)
        return "done"

    assert site.ask(wait_and_do_no_more) == "done"
    settings.CIRCUITS = {**settings.CIRCUITS, "STORE_WAIT_SECONDS": PATIENCE}
    assert site.session()


@pytest.mark.parametrize(
    ("error", "is_kept"), [(InvalidInputError("no"), True), (TimeoutError(), False)]
)
def test_a_connection_is_closed_after_an_exception_that_may_have_cut_an_answer_short(
    site: Site, error: Exception, is_kept: bool
) -> None:
    session = site.session()

    def interrupted() -> None:
        query(SESSION)
        raise error

    with pytest.raises(type(error)):
        site.ask(interrupted)
    assert (site.session() == session) is is_kept


def test_in_an_event_loop_a_worker_asks(site: Site) -> None:
    async def ask() -> int:
        return site.thread()

    assert asyncio.run(ask()) != get_ident()


def test_a_connection_that_was_not_used_for_long_is_opened_again(
    monkeypatch: pytest.MonkeyPatch, site: Site
) -> None:
    clock = Clock()
    monkeypatch.setattr("circuits.process.workers.monotonic", clock)
    site.thread()
    session = site.session()
    clock.pass_by(60)
    assert site.session() == session
    clock.pass_by(61)
    assert site.session() != session


@pytest.mark.skipif(connections[ALIAS].vendor != "sqlite", reason="theirs can be cut off")
@pytest.mark.parametrize("error", [OSError, sqlite3.ProgrammingError, AttributeError])
def test_a_connection_that_cannot_be_cut_off_is_lent_to_nobody(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def no_descriptor(connection: Connection) -> int:
        raise error("it has none")

    monkeypatch.setattr(Connection, "fileno", no_descriptor)
    site = Site()
    session = site.session()
    for _ in range(3):
        assert site.workers.submit(lambda: None).wait(PATIENCE), "the worker is done"
        assert site.thread() != get_ident()
    assert site.session() == session
    site.close()
