"""What a child process of a test does: ``python -m tests.worker TASK ARGUMENTS``.

Started by :func:`tests.concurrency.start_worker`, on the databases of the test.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Any

import django
from django.conf import settings

import circuits


def say_and_wait(word: str) -> None:
    """Tell the test how far this process has come, and wait until it is let go."""
    print(word, flush=True)
    sys.stdin.readline()


def fail(name: str, count: int) -> dict[str, int]:
    """Make failing calls; return how many were made, how many refused, how many changes told."""
    from circuits.signals import state_changed

    told: list[str] = []

    def receive(**details: Any) -> None:
        told.append(details["name"])

    state_changed.connect(receive)
    made = refused = 0
    for _ in range(count):
        try:
            with circuits.guard(name):
                made += 1
                raise ConnectionError("the remote is down")
        except circuits.CircuitOpenError:
            refused += 1
        except ConnectionError:
            pass
    return {"made": made, "refused": refused, "told": len(told)}


def mixed_calls(name: str, count: int, every: int) -> dict[str, int]:
    """Make that many calls of which every ``every``-th fails, and flush."""
    import circuits

    failed = refused = 0
    for number in range(1, count + 1):
        try:
            with circuits.guard(name):
                if number % every == 0:
                    failed += 1
                    raise ConnectionError("the remote is down")
        except circuits.CircuitOpenError:
            refused += 1
        except ConnectionError:
            pass
    circuits.flush()
    return {"failed": failed, "refused": refused}


def measure(name: str, count: int) -> dict[str, int]:
    """Make that many good calls through one circuit, then that many failing ones, for Prometheus.

    It counts in the files of PROMETHEUS_MULTIPROC_DIR.
    """
    import circuits
    from circuits import metrics

    metrics.connect()
    for _ in range(count):
        with circuits.guard(f"{name} good"):
            pass
    return fail(name, count)


def succeed(name: str, count: int) -> None:
    """Make calls that succeed."""
    for _ in range(count):
        with circuits.guard(name):
            pass


def call_and_flush(name: str, times: int) -> None:
    """Make calls, each written down by itself."""
    import circuits

    for _ in range(times):
        with circuits.guard(name):
            pass
        circuits.flush()


def succeed_each(names: list[str]) -> None:
    """Make one call that succeeds through each circuit."""
    for name in names:
        succeed(name, 1)


def flush_by_itself(name: str) -> None:
    """Make a call that succeeds, and wait until it is written down without being asked for."""
    from circuits.models import Circuit
    from tests.concurrency import wait_until

    succeed(name, 1)
    wait_until(lambda: Circuit.objects.get(name=name).total_successes == 1)


def fork(name: str, before: int, after: int) -> int:
    """Make calls, and others in a forked child; return what the child ended with."""
    from django.db import connections

    succeed(name, before)
    connections.close_all()  # as every server does that forks
    child = os.fork()
    if not child:
        try:
            succeed(name, after)
            circuits.flush()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def fork_while_connected(name: str) -> list[str]:
    """Fork with an open connection that the child uses, and closes at its end.

    Returns the session before the fork, that of the child, and the one after the child's end.
    """
    from django.db import connections

    def session() -> str:
        connection = connections["circuits"]
        sql = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}
        with connection.cursor() as cursor:
            cursor.execute(sql.get(connection.vendor, "SELECT 1"))
            (number,) = cursor.fetchone()
        # A file has no sessions: there it is the connection itself.
        return str(id(connection.connection) if connection.vendor == "sqlite" else number)

    succeed(name, 1)
    before = session()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            succeed(name, 1)
            circuits.flush()
            os.write(writing, session().encode())
            connections.close_all()
            os._exit(0)
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    return [before, os.read(reading, 100).decode(), session()]


def migrate(target: str) -> None:
    """Migrate the circuits' tables to a migration."""
    from django.core.management import call_command

    call_command("migrate", "circuits", target, database="circuits", verbosity=0)


def make(name: str, **values: Any) -> str:
    """Make a circuit's row; return where the code that did it lies."""
    from circuits.models import Circuit

    Circuit.objects.create(name=name, **values)
    return str(circuits.__file__)


def expire() -> int:
    """Run the task once; return how many circuits it moved."""
    from circuits.tasks import half_open_expired

    return half_open_expired()


def try_once(name: str, url: str) -> float | None:
    """Call a URL and hold the call until let go; return the seconds to wait if it was refused."""
    import requests

    try:
        with circuits.guard(name):
            requests.get(url, timeout=10)
            say_and_wait("answered")
    except circuits.CircuitOpenError as error:
        say_and_wait("answered")
        return error.retry_after
    return None


def call_for(names: list[str], threads: int, seconds: float) -> dict[str, list[Any]]:
    """Call through the circuits for some seconds; return what was seen of each."""
    from tests.faults import crowd

    return crowd.call_for(names, threads, seconds)


def pace(name: str, calls_per_second: float, phases: list[list[float]]) -> list[float]:
    """Make calls at an even pace; return when each that was made and failed did so."""
    from tests.faults import crowd

    return crowd.pace(name, calls_per_second, phases)


def hold(where: str, name: str) -> None:
    """Stop in the middle of something, for the test to kill this process there."""
    from tests.faults import holders

    getattr(holders, where)(name)


def fill_the_disk(name: str) -> dict[str, Any]:
    """Fail while no file may grow, and go on when they may again.

    Returns whether the circuit refused meanwhile, and whether the shared one counted afterwards.
    """
    import resource

    from circuits import breaker
    from tests.concurrency import wait_until

    def came_back() -> bool:
        with suppress(circuits.CircuitOpenError):
            succeed(name, 1)
        return not breaker.store._down

    succeed(name, 4)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    while_full = fail(name, 8)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    wait_until(came_back)
    return {**while_full, "after": fail(name, 1)["made"]}


TASKS = {
    task.__name__: task
    for task in (
        fail,
        call_and_flush,
        mixed_calls,
        measure,
        succeed,
        succeed_each,
        flush_by_itself,
        fork,
        fork_while_connected,
        migrate,
        make,
        expire,
        try_once,
        call_for,
        pace,
        hold,
        fill_the_disk,
    )
}


def set_up(settings_module: str = "tests.settings") -> None:
    """Set Django up on the databases and with the circuits of the test."""
    os.environ["DJANGO_SETTINGS_MODULE"] = settings_module
    settings.CIRCUITS = json.loads(os.environ["TEST_CIRCUITS"])
    for alias, database in json.loads(os.environ["TEST_DATABASE_NAMES"]).items():
        settings.DATABASES[alias]["NAME"] = database
    django.setup()


def main(task: str, arguments: str) -> None:
    """Set up, wait for the start, and print the result."""
    set_up()
    say_and_wait("ready")
    result: Any = TASKS[task](**json.loads(arguments))
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
