"""Threads that call many circuits in a process of its own, and what the database sees of it."""

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

#: Seconds a thread rests between two calls.
PAUSE: Final = 0.001

#: Seconds; the default.
FLUSH_SECONDS: Final = 5.0

#: Seconds that the threads have been calling before anything is counted.
WARM_SECONDS: Final = 1.0

#: Seconds between two looks at the sessions on the server.
LOOK_SECONDS: Final = 0.1

#: Asks a server, by its vendor, for the sessions on this database but the one that asks.
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
    """When this process asked its database for something, in whichever thread.

    Args:
        statements: The moments of all statements.
        reads: The moments of reads outside of any transaction.
        writes: The moments of transactions committed, a write outside of any being one.
    """

    statements: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)

    def note(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        """Wrap a statement, as Django's ``execute_wrapper`` wants it."""
        now = time.monotonic()
        self.statements.append(now)
        connection = context["connection"]
        if sql.startswith("BEGIN"):
            pass  # of SQLite; what it begins counts when it is committed
        elif not connection.in_atomic_block:
            (self.reads if sql.startswith("SELECT") else self.writes).append(now)
        elif all(hook != self._note_commit for _, hook, *_ in connection.run_on_commit):
            transaction.on_commit(self._note_commit, using=connection.alias)
        return execute(sql, params, many, context)

    def _note_commit(self) -> None:
        self.writes.append(time.monotonic())

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note what is asked on the connections made while the block runs."""

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
    """Give what asks the server how many sessions it has that were not there before."""
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
    """Threads that call circuits, each time one by chance.

    Args:
        names: The circuits.
        failing: The share of the calls that fail.
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
        """Call every circuit once: its first use makes its row or reads it."""
        for succeed, _ in self._calls:
            succeed()
        self._calls_before += len(self._calls)

    @contextmanager
    def running(self, until: float) -> Iterator[list[Future[list[Span]]]]:
        """Run the threads until a moment, beside the block, which waits for them at its end."""
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
        """Return the calls of all threads.

        Raises:
            BrokenContenderError: Not every call was let through.
        """
        spans = [span for future in futures for span in future.result()]
        done = self._work.done() - self._calls_before
        if done != len(spans):
            raise BrokenContenderError(f"Of {len(spans)} calls, {done} got through.")
        return spans


# What a process of its own does ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a process under traffic costs its database.

    Args:
        calls: How many calls its threads made.
        reads: Reads a second.
        writes: Write transactions in five seconds.
        statements: Statements a second, those of the transactions too.
        connections: The most that the server has seen at once, from the very first call on.
    """

    calls: int
    reads: float
    writes: float
    statements: float
    connections: int


def use(
    start: float, alias: str, prefix: str, number: int, seconds: float, all_at_once: bool
) -> Cost:
    """Call a number of new circuits, and return what that costs.

    Args:
        all_at_once: Whether the threads begin before any of the circuits was used; otherwise one
            thread has used each of them once.

    Raises:
        BrokenContenderError: The database knows of other calls than were made.
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
        # Half a second more, as what is counted begins with a read.
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
class Heard:
    """What the callers have noticed of a database that falls silent.

    Args:
        spans: All calls.
        left_at: The moments at which the process said that it goes on without the database.
    """

    spans: list[Span]
    left_at: list[float]


class _Moments(logging.Handler):
    """Keeps the moments of what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.moments: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.moments.append(time.monotonic())


def keep_calling(
    start: float, alias: str, port: int, names: Sequence[str], failing: float, seconds: float
) -> Heard:
    """Call circuits whose database is behind a port of this machine, whatever becomes of it.

    Raises:
        django.db.Error: The database does not answer at the end.
    """
    connections.settings[alias].update(HOST="127.0.0.1", PORT=str(port))
    connections.close_all()
    log, logger = _Moments(), logging.getLogger("circuits")
    logger.addHandler(log)
    logger.propagate = False  # it is expected here, and the terminal shows results
    with circuits_on(alias, FLUSH_SECONDS=FLUSH_SECONDS):
        wait_until(start)
        traffic = Traffic(names, failing)
        with traffic.running(until=time.monotonic() + seconds) as futures:
            pass
        spans = traffic.spans(futures)
        circuits.flush()
        connections.close_all()
    return Heard(spans=spans, left_at=log.moments)
