"""The other circuit breakers, each built as its own documentation says.

Each package is imported only when its breaker is built, so the other benchmarks work without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings

from tests import services

from .naming import RUN

PACKAGES: Final = (
    "pybreaker",
    "circuitbreaker",
    "aiobreaker",
    "purgatory",
    "resilient-circuit",
    "interlock-cb",
    "nopanic",
    "nopanic-redis",
    "psycopg",
    "mysqlclient",
    "redis",
)

#: A threshold that no case reaches.
NEVER: Final = 1_000_000

#: A delay in seconds that is longer than any case, so an open circuit stays open.
LONG: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A circuit breaker of another library.

    Args:
        protect: Wraps a function so that calls to it go through the breaker.
        refusal: The exception that a refused call raises.
    """

    name: str
    protect: Callable[[Callable[..., Any]], Callable[..., Any]]
    refusal: type[BaseException]


def versions() -> dict[str, str]:
    """Return the versions of all peers, and of the drivers that they and circuits use.

    Raises:
        PackageNotFoundError: A package is not installed.
    """
    return {name: version(name) for name in PACKAGES}


# In memory ---------------------------------------------------------------------------------------


def pybreaker(threshold: int = NEVER, delay: float = LONG) -> Peer:
    """Return pybreaker with its state in memory."""
    import pybreaker as library

    breaker = library.CircuitBreaker(
        fail_max=threshold, reset_timeout=delay, throw_new_error_on_trip=False
    )
    return Peer(name="pybreaker", protect=breaker, refusal=library.CircuitBreakerError)


def circuitbreaker(threshold: int = NEVER, delay: int = LONG) -> Peer:
    """Return circuitbreaker, which can keep its state only in memory."""
    import circuitbreaker as library

    breaker = library.CircuitBreaker(failure_threshold=threshold, recovery_timeout=delay)
    return Peer(name="circuitbreaker", protect=breaker, refusal=library.CircuitBreakerError)


def aiobreaker(threshold: int = NEVER, delay: float = LONG) -> Peer:
    """Return aiobreaker with its state in memory."""
    import aiobreaker as library

    breaker = library.CircuitBreaker(fail_max=threshold, timeout_duration=timedelta(seconds=delay))
    return Peer(name="aiobreaker", protect=breaker, refusal=library.CircuitBreakerError)


def purgatory(threshold: int = NEVER, delay: float = LONG) -> Peer:
    """Return purgatory, for coroutines, with its state in memory."""
    from purgatory import AsyncCircuitBreakerFactory
    from purgatory.domain.model import OpenedState

    factory = AsyncCircuitBreakerFactory(default_threshold=threshold, default_ttl=delay)
    return Peer(name="purgatory", protect=factory(RUN), refusal=OpenedState)


def resilient_circuit(threshold: int = 0, delay: float = LONG) -> Peer:
    """Return resilient-circuit with its state in memory.

    Args:
        threshold: 1 to open at the first failure, 0 never to open.
    """
    from resilient_circuit.storage.memory import InMemoryStorage

    return _resilient(InMemoryStorage(), "resilient-circuit", threshold, delay)


def interlock(threshold: int | None = None, delay: float = LONG) -> Peer:
    """Return interlock-cb with its state in memory.

    Args:
        threshold: Failing calls in a row that open it; None keeps its own default, half of at
            least 10 calls.
    """
    return _interlock("interlock-cb", None, RUN, threshold, delay)


def nopanic(threshold: int | None = None, delay: float = LONG) -> Peer:
    """Return nopanic with its state in memory.

    Args:
        threshold: Number of calls that open it if all of them fail; None keeps its own default,
            half of at least 5 calls.
    """
    from nopanic import CircuitOpen, circuit_breaker

    breaker = circuit_breaker(reset_timeout=delay, **_nopanic_policy(threshold))
    return Peer(name="nopanic", protect=breaker, refusal=CircuitOpen)


def _nopanic_policy(threshold: int | None) -> dict[str, Any]:
    return {} if threshold is None else {"failure_threshold": 1.0, "min_calls": threshold}


# On a server -------------------------------------------------------------------------------------


def redis_url(port: int | None = None) -> str:
    """Return the URL of Redis, or with a ``port`` the URL of a forwarder on this machine."""
    url = urlsplit(services.url("Redis"))
    if port is not None:
        url = url._replace(netloc=f"127.0.0.1:{port}")
    return urlunsplit(url)


@contextmanager
def redis_client(port: int | None = None) -> Iterator[Any]:
    """Yield a client of Redis, and delete the keys of this run at the end."""
    from redis import Redis

    with Redis.from_url(redis_url(port)) as client:
        try:
            yield client
        finally:
            for key in client.scan_iter(match=f"*{RUN}*", count=1000):
                client.delete(key)


def pybreaker_on_redis(
    client: Any, namespace: str, threshold: int = NEVER, delay: float = LONG
) -> Peer:
    """Return pybreaker with its state on Redis.

    Args:
        namespace: Keeps its keys apart from those of other breakers in the same run.
    """
    import pybreaker as library

    breaker = library.CircuitBreaker(
        fail_max=threshold,
        reset_timeout=delay,
        state_storage=pybreaker_storage(client, namespace),
        throw_new_error_on_trip=False,
    )
    return Peer(name="pybreaker on Redis", protect=breaker, refusal=library.CircuitBreakerError)


def pybreaker_storage(client: Any, namespace: str) -> Any:
    """Return the storage in which :func:`pybreaker_on_redis` keeps its state."""
    import pybreaker as library

    return library.CircuitRedisStorage(library.STATE_CLOSED, client, namespace=f"{RUN}:{namespace}")


@contextmanager
def purgatory_on_redis(
    runner: asyncio.Runner, threshold: int = NEVER, delay: float = LONG
) -> Iterator[Peer]:
    """Yield purgatory, for coroutines of the runner's loop, with its state on Redis."""
    from purgatory import AsyncCircuitBreakerFactory, AsyncRedisUnitOfWork
    from purgatory.domain.model import OpenedState

    unit = AsyncRedisUnitOfWork(redis_url())
    factory = AsyncCircuitBreakerFactory(default_threshold=threshold, default_ttl=delay, uow=unit)
    with redis_client():
        try:
            yield Peer(name="purgatory on Redis", protect=factory(RUN), refusal=OpenedState)
        finally:
            runner.run(unit.contexts.redis.aclose())


def resilient_circuit_on_postgres(threshold: int = 0, delay: float = LONG) -> Peer:
    """Return resilient-circuit with its state on PostgreSQL, read at its default interval.

    Args:
        threshold: 1 to open at the first failure, 0 never to open.
    """
    import psycopg
    from resilient_circuit.storage.postgres import PostgresStorage
    from resilient_circuit.storage.schema import apply_schema

    dsn = urlunsplit(
        urlsplit(services.url("PostgreSQL"))._replace(
            path=f"/{settings.DATABASES['postgres']['NAME']}"
        )
    )
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        apply_schema(cursor)
    return _resilient(
        PostgresStorage(dsn, RUN), "resilient-circuit on PostgreSQL", threshold, delay
    )


def interlock_on_redis(
    client: Any,
    name: str,
    threshold: int | None = None,
    delay: float = LONG,
    poll_seconds: float = 1.0,
) -> Peer:
    """Return interlock-cb, which shares its state on Redis; each process counts by itself.

    Args:
        poll_seconds: Seconds between two reads of the shared state in the background.
    """
    from interlock.integrations.redis import RedisStorage

    storage = RedisStorage(client, key_prefix=f"{RUN}:", poll_interval=poll_seconds)
    return _interlock("interlock-cb on Redis", storage, name, threshold, delay)


def nopanic_on_redis(
    client: Any, name: str, threshold: int | None = None, delay: float = LONG
) -> Peer:
    """Return nopanic-redis, which calls Redis before and after each call."""
    from nopanic import CircuitOpen
    from nopanic_redis import redis_circuit_breaker

    breaker = redis_circuit_breaker(
        client, name=name, prefix=RUN, reset_timeout=delay, **_nopanic_policy(threshold)
    )
    return Peer(name="nopanic on Redis", protect=breaker, refusal=CircuitOpen)


def _interlock(label: str, storage: Any, name: str, threshold: int | None, delay: float) -> Peer:
    from interlock import CircuitBreaker, CircuitOpenError, Config

    policy: dict[str, Any] = {"wait_duration_in_open": delay, "permitted_calls_in_half_open": 1}
    if threshold is not None:
        # The window is as long as the threshold, so that earlier successes do not count.
        policy |= {
            "failure_rate_threshold": 1.0,
            "minimum_number_of_calls": threshold,
            "window_size": threshold,
        }
    breaker = CircuitBreaker(name=name, config=Config(**policy), storage=storage)
    return Peer(name=label, protect=breaker, refusal=CircuitOpenError)


def _resilient(storage: Any, name: str, threshold: int, delay: float) -> Peer:
    from resilient_circuit import CircuitProtectorPolicy
    from resilient_circuit.exceptions import ProtectedCallError

    policy = CircuitProtectorPolicy(
        resource_key=f"{RUN}:{threshold}",
        storage=storage,
        cooldown=timedelta(seconds=delay),
        # It opens by a share of failures, and a share of 2 is never reached.
        failure_limit=Fraction(1, 1) if threshold else Fraction(2, 1),
    )
    return Peer(name=name, protect=policy, refusal=ProtectedCallError)
