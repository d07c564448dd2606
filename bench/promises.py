"""Counts the calls that get through although they should not: ``python -m bench.promises``.

Eight processes call one circuit at once. The remote is down at first, and well again after the
delay. The table goes into docs/comparison.md.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from fractions import Fraction
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import django

from tests import services
from tests.faults import markers
from tests.faults.history import most_at_once

from .crew import Crew, crew, wait_until
from .naming import RUN

if TYPE_CHECKING:
    from .peers import Peer

PAGE: Final = Path(__file__).parents[1] / "docs" / "comparison.md"

SERVICES: Final = ("PostgreSQL", "MariaDB", "Redis")

PROCESSES: Final = 8
THRESHOLD: Final = 5
ROUNDS: Final = 5

#: Seconds: the circuit's delay, the pause after which it has surely passed, the duration of a call
#: to the remote then, and the time within which each process must have been refused.
DELAY: Final = 1.0
AFTER: Final = 1.5
TRIAL: Final = 1.0
PATIENCE: Final = 60.0

#: A function that wraps another so that a circuit guards it, and the exception of a refused call.
Circuit = tuple[Callable[[Callable[[], None]], Callable[[], Any]], type[BaseException]]


#: When a call began and when it ended, on the monotonic clock.
Span = tuple[float, float]


# In each process ---------------------------------------------------------------------------------


def fail(start: float, contender: str, name: str) -> int:
    """Make failing calls as fast as possible until one is refused; return how many were made.

    Raises:
        TimeoutError: No call was refused within ``PATIENCE`` seconds.
    """
    made = 0

    def call() -> None:
        nonlocal made
        made += 1
        raise ConnectionError("the remote is down")

    with CONTENDERS[contender](name) as (protect, refusal):
        attempt = protect(call)
        wait_until(start)
        while _is_let_through(attempt, refusal):
            if time.monotonic() > start + PATIENCE:
                raise TimeoutError(f"{contender} did not open in {PATIENCE:g} seconds.")
    return made


def call_again(start: float, contender: str, name: str) -> list[Span]:
    """Make one call of ``TRIAL`` seconds; return its span, or nothing if it was refused."""
    spans: list[Span] = []

    def call() -> None:
        began = time.monotonic()
        time.sleep(TRIAL)
        spans.append((began, time.monotonic()))

    with CONTENDERS[contender](name) as (protect, refusal):
        attempt = protect(call)
        wait_until(start)
        _is_let_through(attempt, refusal)
    return spans


def _is_let_through(call: Callable[[], object], refusal: type[BaseException]) -> bool:
    try:
        call()
    except refusal:
        return False
    except ConnectionError:
        pass
    return True


@contextmanager
def _ours(alias: str, snapshot_seconds: float, name: str) -> Iterator[Circuit]:
    import circuits

    from .databases import circuits_on, close

    policy = {"threshold": THRESHOLD, "delay": DELAY}
    with circuits_on(alias, SNAPSHOT_SECONDS=snapshot_seconds, DEFAULTS=policy):
        yield circuits.protect(name), circuits.CircuitOpenError
    close()


@contextmanager
def _pybreaker(name: str) -> Iterator[Circuit]:
    from redis import Redis

    from . import peers

    with Redis.from_url(peers.redis_url()) as client:
        peer = peers.pybreaker_on_redis(client, name, THRESHOLD, DELAY)
        yield peer.protect, peer.refusal


@contextmanager
def _nopanic(name: str) -> Iterator[Circuit]:
    from redis import Redis

    from . import peers

    with Redis.from_url(peers.redis_url()) as client:
        peer = peers.nopanic_on_redis(client, name, THRESHOLD, DELAY)
        yield peer.protect, peer.refusal


@contextmanager
def _interlock(name: str) -> Iterator[Circuit]:
    peer = _interlock_peer(name)
    yield peer.protect, peer.refusal


@lru_cache(maxsize=1)
def _interlock_peer(name: str) -> Peer:
    """Return the breaker of this process, the same for two tasks of one circuit.

    It reads the shared state in the background, so a new breaker would not know that state yet.
    """
    from redis import Redis

    from . import peers

    client = Redis.from_url(peers.redis_url())
    return peers.interlock_on_redis(client, name, THRESHOLD, DELAY, poll_seconds=0.2)


@contextmanager
def _resilient_circuit(refresh_seconds: float, name: str) -> Iterator[Circuit]:
    from resilient_circuit import CircuitProtectorPolicy
    from resilient_circuit.exceptions import ProtectedCallError
    from resilient_circuit.storage.postgres import PostgresStorage

    yield (
        CircuitProtectorPolicy(
            resource_key=name,
            storage=PostgresStorage(_postgres_dsn(), RUN),
            cooldown=timedelta(seconds=DELAY),
            # It opens by a share of the last calls; 5 of 6 is the nearest to 5 in a row.
            failure_limit=Fraction(THRESHOLD, THRESHOLD + 1),
            admission_refresh_interval=timedelta(seconds=refresh_seconds),
        ),
        ProtectedCallError,
    )


def _postgres_dsn() -> str:
    from django.conf import settings

    where = urlsplit(services.url("PostgreSQL"))
    return where._replace(path=f"/{settings.DATABASES['postgres']['NAME']}").geturl()


#: Returns a context manager that yields a circuit of the given name.
CONTENDERS: Final[dict[str, Callable[[str], AbstractContextManager[Circuit]]]] = {
    "this on SQLite": partial(_ours, "sqlite", 0.2),
    "this on PostgreSQL": partial(_ours, "postgres", 0.2),
    "this on MariaDB": partial(_ours, "mariadb", 0.2),
    "this on SQLite, `SNAPSHOT_SECONDS = 0`": partial(_ours, "sqlite", 0),
    "this on PostgreSQL, `SNAPSHOT_SECONDS = 0`": partial(_ours, "postgres", 0),
    "this on MariaDB, `SNAPSHOT_SECONDS = 0`": partial(_ours, "mariadb", 0),
    "pybreaker on Redis": _pybreaker,
    "interlock-cb on Redis, read every 0.2 s": _interlock,
    "nopanic on Redis": _nopanic,
    "resilient-circuit on PostgreSQL": partial(_resilient_circuit, 1.0),
    "resilient-circuit on PostgreSQL, asked at each call": partial(_resilient_circuit, 0),
}


# In the process that compares them ---------------------------------------------------------------


def main() -> None:
    """Run all contenders, print the table, and write it into docs/comparison.md."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    django.setup()
    from . import databases, peers

    for name in SERVICES:
        services.require(name)
    with databases.made(SERVICES), crew(PROCESSES) as processes, peers.redis_client():
        peers.resilient_circuit_on_postgres()  # makes its tables, as only one at once can
        rows = [(name, *_compared(processes, name)) for name in CONTENDERS]
    table = markers.table(
        (f"{PROCESSES} processes", "failing calls made", "calls at once after the delay"), rows
    )
    print(table)
    markers.write(PAGE, "promises", table)


def _compared(processes: Crew, contender: str) -> tuple[str, str]:
    failing, again = [], []
    for _ in range(ROUNDS):
        name = f"promise {time.monotonic_ns()}"  # a circuit of its own for each round
        failing.append(sum(processes.run(fail, contender, name)))
        time.sleep(AFTER)
        spans = processes.run(call_again, contender, name)
        again.append(most_at_once(chain.from_iterable(spans)))
    return _range(failing), _range(again)


def _range(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return str(least) if least == most else f"{least} to {most}"


if __name__ == "__main__":
    main()
