"""Counts the statements that circuits send to their database, and the round trips they take."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Lock, Thread
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from circuits.process import runtime

from . import peers
from .measure import BrokenContenderError

T = TypeVar("T")

#: Bytes that are read at once; no statement or row here is larger.
CHUNK: Final = 65536

#: Seconds within which the two calls of a count must end.
PATIENCE: Final = 60.0


class Counter:
    """Counts what has been sent to a database since the last reset.

    Attributes:
        statements: Each statement with its parameters, without the ends of transactions.
        trips: How many times something was sent and an answer awaited. SQLite has no network; there
            it is the number of statements, including those that begin and end transactions.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self.reset()

    def reset(self) -> None:
        """Forget what was counted."""
        self.statements: list[tuple[str, Any]] = []
        self.trips = 0

    def copy(self) -> Counter:
        """Return a copy of what was counted, which later counting does not change."""
        copy = Counter()
        copy.statements, copy.trips = list(self.statements), self.trips
        return copy

    def only_statement(self) -> tuple[str, Any]:
        """Return the only statement, with its parameters.

        Raises:
            BrokenContenderError: No statement was sent, or more than one.
        """
        if len(self.statements) != 1:
            raise BrokenContenderError(
                f"One statement was expected, and {len(self.statements)} were sent."
            )
        return self.statements[0]

    def note_statement(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        """Note a statement and send it; the signature is that of Django's ``execute_wrapper``."""
        self.statements.append((sql, params))
        return execute(sql, params, many, context)

    def note_trip(self, *_: object) -> None:
        """Count one round trip."""
        with self._lock:
            self.trips += 1


@contextmanager
def counting(alias: str) -> Iterator[Counter]:
    """Count what this thread sends to a database while the block runs."""
    connection = connections[alias]
    counter = Counter()
    with _trips_counted(connection, counter), connection.execute_wrapper(counter.note_statement):
        yield counter


def count(
    alias: str, call: Callable[[], object], within: Callable[[], AbstractContextManager[object]]
) -> Counter:
    """Return what the second of two calls sends to a database; the first may set things up.

    One of the app's worker threads makes the calls, because such a thread asks the database itself.
    """

    def counted() -> Counter:
        with counting(alias) as counter, within():
            call()
            counter.reset()
            call()
            return counter.copy()

    return by_worker(counted)


def by_worker(work: Callable[[], T]) -> T:
    """Let one of the app's worker threads do some work, and return the result.

    Raises:
        BrokenContenderError: The work was not done within ``PATIENCE`` seconds.
    """
    errand = runtime.workers.submit(work)
    if not errand.wait(PATIENCE):
        raise BrokenContenderError(f"Nothing was counted within {PATIENCE:g} s.")
    return errand.result()


def count_on_redis(make: Callable[[Any], Callable[[], object]]) -> int:
    """Return how many round trips to Redis a call takes.

    Args:
        make: Makes the call, given a Redis client.
    """
    address = urlsplit(peers.redis_url())
    counter = Counter()
    with (
        forwarding(str(address.hostname), int(address.port or 6379), counter.note_trip) as port,
        peers.redis_client(port) as client,
    ):
        call = make(client)
        call()
        counter.reset()
        call()
        return counter.copy().trips


@contextmanager
def _trips_counted(connection: BaseDatabaseWrapper, counter: Counter) -> Iterator[None]:
    if connection.vendor == "sqlite":
        connection.ensure_connection()
        connection.connection.set_trace_callback(counter.note_trip)
        yield
        connection.connection.set_trace_callback(None)
        return
    settings = connection.settings_dict
    address = settings["HOST"], settings["PORT"]
    with forwarding(str(address[0]), int(address[1]), counter.note_trip) as port:
        connection.close()
        settings["PORT"] = port
        try:
            yield
        finally:
            connection.close()
            settings["PORT"] = address[1]


@contextmanager
def forwarding(host: str, port: int, note_trip: Callable[[], object]) -> Iterator[int]:
    """Yield a local port that forwards to a server, and call ``note_trip`` at each round trip.

    A round trip begins with the first bytes that a client sends after an answer, so statements
    sent together are one round trip.
    """

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((host, port)) as server:
                _Exchange(self.request, server, note_trip).run()

    with _Server(("127.0.0.1", 0), Handler) as listening:
        thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield listening.server_address[1]
        finally:
            listening.shutdown()
            thread.join()


class _Server(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


class _Exchange:
    """Passes on what a client and a server send each other, until one of them hangs up."""

    def __init__(
        self, client: socket.socket, server: socket.socket, note_trip: Callable[[], object]
    ) -> None:
        self._client = client
        self._server = server
        self._note_trip = note_trip
        self._is_answered = True

    def run(self) -> None:
        """Pass everything on, in both directions."""
        back = Thread(target=self._pass_answers_on, daemon=True)
        back.start()
        with suppress(OSError):
            while said := self._client.recv(CHUNK):
                if self._is_answered:
                    self._is_answered = False
                    self._note_trip()
                self._server.sendall(said)
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        back.join()

    def _pass_answers_on(self) -> None:
        with suppress(OSError):
            while said := self._server.recv(CHUNK):
                self._is_answered = True
                self._client.sendall(said)
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)
