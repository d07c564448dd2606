"""Threads of one process that call many circuits, and what they ask of the database."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import Count, Sum

import circuits

from .crew import wait_until
from .databases import circuits_on
from .measure import BrokenContenderError
from .work import RemoteDownError, Work

THREADS: Final = 16

#: Seconds that a thread pauses between two calls.
PAUSE: Final = 0.001

#: Seconds between two flushes: the default of the setting.
FLUSH_SECONDS: Final = 5.0

#: Seconds for which the threads call before anything is counted.
WARM_SECONDS: Final = 1.0

#: Seconds between two counts of the sessions on the server.
LOOK_SECONDS: Final = 0.1

#: The query, by vendor, for the sessions on this database except the one that asks.
SESSIONS: Final = {
    "postgresql": (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    ),
    "mysql": (
        "SELECT id FROM information_schema.processlist WHERE db = DATABASE()"
        " AND id <> CONNECTION_ID()"
    ),
}

#: When a call began on the monotonic clock, and how many seconds it took.
Span = tuple[float, float]


# What is asked of the database -------------------------------------------------------------------


@dataclass(slots=True)
class Asked:
    """The moments at which the threads of this process asked their database for something.

    Args:
        statements: When each statement was sent.
        reads: When each read outside a transaction was sent.
        writes: When each transaction was committed; a write outside one counts as one.
    """

    statements: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)

    def note(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        """Note a statement and send it; the signature is that of Django's ``execute_wrapper``."""
        now = time.monotonic()
        self.statements.append(now)
        connection = context["connection"]
        if sql.startswith("BEGIN"):
            pass  # SQLite sends it as a statement; the transaction counts when it is committed
        elif not connection.in_atomic_block:
            (self.reads if sql.startswith("SELECT") else self.writes).append(now)
        elif all(hook != self._note_commit for _, hook, *_ in connection.run_on_commit):
            transaction.on_commit(self._note_commit, using=connection.alias)
        return execute(sql, params, many, context)

    def _note_commit(self) -> None:
        self.writes.append(time.monotonic())

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note what is sent on the connections that are made while the block runs."""

        def listen(connection: BaseDatabaseWrapper, **_: Any) -> None:
            if self.note not in connection.execute_wrappers:
                connection.execute_wrappers.append(self.note)

        connections.close_all()
        connection_created.connect(listen)
        try:
            yield
        finally:
            connection_created.disconnect(listen)


@contextmanager
def new_sessions(alias: str) -> Iterator[Callable[[], int]]:
    """Yield a function that returns how many sessions the server has that are new since then."""
    observer: Any = connections.create_connection(alias)

    def sessions() -> set[int]:
        with observer.cursor() as cursor:
            cursor.execute(SESSIONS[observer.vendor])
            return {number for (number,) in cursor.fetchall()}

    before = sessions()
    try:
        yield lambda: len(sessions() - before)
    finally:
        observer.close()


# Threads that call -------------------------------------------------------------------------------


class Traffic:
    """Threads that call circuits at random.

    Args:
        names: The names of the circuits.
        failing: The share of the calls that fail, from 0 to 1.
    """

    def __init__(self, names: Sequence[str], failing: float = 0.0) -> None:
        self._work = Work()
        self._calls_before = 0
        self._failing = failing
        self._calls = [
            (circuits.protect(name)(self._work.succeed), circuits.protect(name)(self._work.fail))
            for name in names
        ]

    def call_each(self) -> None:
        """Call every circuit once, since its first use makes its row or reads it."""
        for succeed, _ in self._calls:
            succeed()
        self._calls_before += len(self._calls)

    @contextmanager
    def running(self, until: float) -> Iterator[list[Future[list[Span]]]]:
        """Run the threads until a moment on the monotonic clock, and wait for them at the end.

        The block runs beside them; it gets a future for each thread.
        """
        with ThreadPoolExecutor(THREADS) as pool:
            yield [pool.submit(self._call, Random(seed), until) for seed in range(THREADS)]

    def _call(self, random: Random, until: float) -> list[Span]:
        spans = []
        while (began := time.monotonic()) < until:
            succeed, fail = random.choice(self._calls)
            with suppress(RemoteDownError):
                (fail if random.random() < self._failing else succeed)()
            spans.append((began, time.monotonic() - began))
            time.sleep(PAUSE)
        return spans

    def spans(self, futures: Sequence[Future[list[Span]]]) -> list[Span]:
        """Return the spans of the calls of all threads.

        Raises:
            BrokenContenderError: A call was not let through.
        """
        spans = [span for future in futures for span in future.result()]
        done = self._work.done() - self._calls_before
        if done != len(spans):
            raise BrokenContenderError(f"Of {len(spans)} calls, {done} got through.")
        return spans


# Tasks for a process of its own ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a process with traffic costs its database.

    Args:
        calls: How many calls its threads made.
        reads: Reads a second.
        writes: Write transactions in five seconds.
        statements: Statements a second, including those inside transactions.
        connections: The most connections at once, from the first call on, as the server counts.
    """

    calls: int
    reads: float
    writes: float
    statements: float
    connections: int


def use(
    start: float, alias: str, prefix: str, number: int, seconds: float, all_at_once: bool
) -> Cost:
    """Call new circuits for some seconds, and return what that costs the database.

    Args:
        prefix: The beginning of the circuits' names.
        number: How many circuits are called.
        all_at_once: Whether all threads begin before any circuit was used; otherwise one thread
            uses each circuit once before.

    Raises:
        BrokenContenderError: The rows do not hold exactly the calls that were made.
    """
    names = [f"{prefix} {each}" for each in range(number)]
    asked = Asked()
    with (
        circuits_on(alias, FLUSH_SECONDS=FLUSH_SECONDS),
        new_sessions(alias) as sessions,
        asked.listening(),
    ):
        wait_until(start)
        traffic = Traffic(names)
        if not all_at_once:
            traffic.call_each()
        warm = time.monotonic() + WARM_SECONDS
        most = 0
        # Half a second more, since counting begins at the first read.
        with traffic.running(until=warm + seconds + 0.5) as futures:
            while not all(future.done() for future in futures):
                most = max(most, sessions())
                time.sleep(LOOK_SECONDS)
        calls = len(traffic.spans(futures))
        circuits.flush()
        _require_counted(prefix, number, calls if all_at_once else calls + number)
    since = next((moment for moment in sorted(asked.reads) if moment >= warm), warm)

    def per_second(moments: Sequence[float]) -> float:
        return sum(since < moment <= since + seconds for moment in moments) / seconds

    return Cost(
        calls=calls,
        reads=per_second(asked.reads),
        writes=5 * per_second(asked.writes),
        statements=per_second(asked.statements),
        connections=most,
    )


def _require_counted(prefix: str, number: int, calls: int) -> None:
    from circuits.models import Circuit

    rows = Circuit.objects.filter(name__startswith=f"{prefix} ")
    found = rows.aggregate(circuits=Count("pk"), calls=Sum("total_successes"))
    if found != {"circuits": number, "calls": calls}:
        raise BrokenContenderError(f"{calls} calls of {number} circuits were counted as {found}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerReport:
    """How callers fared while their database fell silent.

    Args:
        spans: The spans of all calls.
        left_at: The moments at which the process logged that it goes on without the database.
    """

    spans: list[Span]
    left_at: list[float]


class _Moments(logging.Handler):
    """Keeps the moment of each error that is logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.moments: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.moments.append(time.monotonic())


def keep_calling(
    start: float, alias: str, port: int, names: Sequence[str], failing: float, seconds: float
) -> CallerReport:
    """Call circuits for some seconds, whatever happens to their database.

    Args:
        port: The local port through which the database is reached.
        names: The names of the circuits.
        failing: The share of the calls that fail, from 0 to 1.

    Raises:
        django.db.Error: The database does not answer at the end.
    """
    connections.settings[alias].update(HOST="127.0.0.1", PORT=str(port))
    connections.close_all()
    log, logger = _Moments(), logging.getLogger("circuits")
    logger.addHandler(log)
    logger.propagate = False  # the errors are expected, and the terminal is for results
    with circuits_on(alias, FLUSH_SECONDS=FLUSH_SECONDS):
        wait_until(start)
        traffic = Traffic(names, failing)
        with traffic.running(until=time.monotonic() + seconds) as futures:
            pass
        spans = traffic.spans(futures)
        circuits.flush()
        connections.close_all()
    return CallerReport(spans=spans, left_at=log.moments)
