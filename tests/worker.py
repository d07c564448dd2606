"""The tasks of a test's child processes: ``python -m tests.worker TASK ARGUMENTS``.

:func:`tests.concurrency.start_worker` starts them, on the databases of the test.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import django
from django.conf import settings

import circuits


def say_and_wait(word: str) -> None:
    """Print a word, so that the test knows how far this process is, and wait until it is let go."""
    print(word, flush=True)
    sys.stdin.readline()


def fail(name: str, count: int) -> dict[str, int]:
    """Make failing calls; return how many were made and refused, and how many signals were sent."""
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
    """Make ``count`` calls, of which every ``every``-th fails, and flush."""
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
    """Make ``count`` calls that succeed and as many that fail through one circuit, for Prometheus.

    Prometheus counts in the files of PROMETHEUS_MULTIPROC_DIR.
    """
    import circuits
    from circuits.integrations import metrics

    metrics.connect()
    for _ in range(count):
        with circuits.guard(f"{name} good"):
            pass
    return fail(name, count)


def measure_with_children(name: str, count: int) -> dict[str, int]:
    """Make calls of all kinds, and as many in a forked child, for Prometheus.

    Returns how many calls of each outcome the two processes made, as they counted themselves.
    """
    from django.db import connections

    from circuits.integrations import metrics

    metrics.connect()
    mine = _calls_of_all_kinds(name, count)
    connections.close_all()
    reading, writing = os.pipe()

    def work() -> None:
        own = _calls_of_all_kinds(name, count)
        circuits.flush()
        os.write(writing, json.dumps(own).encode())

    assert in_child(work) == 0
    childs = json.loads(os.read(reading, 1_000))
    return {key: mine[key] + childs[key] for key in mine}


def count_in_child(name: str) -> list[int]:
    """Count calls before and after a fork; return the counts of parent and child."""
    from django.db import connections

    from circuits.process import counts

    def counted() -> int:
        return sum(sum(ended.calls) for each in counts.read() for ended in each.ended.values())

    counts.keep("test")
    succeed(name, 3)
    connections.close_all()
    reading, writing = os.pipe()

    def work() -> None:
        succeed(name, 2)
        os.write(writing, str(counted()).encode())

    assert in_child(work) == 0
    return [counted(), int(os.read(reading, 100))]


def _calls_of_all_kinds(name: str, count: int) -> dict[str, int]:
    made = {"success": 0, "failure": 0, "ignored": 0}
    for number in range(count):
        error = {7: ConnectionError("down"), 8: KeyError("a bug")}.get(number % 10)
        try:
            with circuits.guard(name, exceptions=ConnectionError):
                if error is not None:
                    raise error
            made["success"] += 1
        except ConnectionError:
            made["failure"] += 1
        except KeyError:
            made["ignored"] += 1
    return made


def succeed(name: str, count: int) -> None:
    """Make calls that succeed."""
    for _ in range(count):
        with circuits.guard(name):
            pass


def spend(name: str, calls: int) -> int:
    """Make calls that succeed, ask for retries until there are none, flush; return how many."""
    first = circuits.may_retry(name)  # calls count from the first question on
    succeed(name, calls)
    granted = sum(circuits.may_retry(name) for _ in range(1_000))
    circuits.flush()
    return first + granted


def spend_in_child(name: str) -> list[int]:
    """Ask for retries before a fork and in the child; return how many each was granted."""
    from django.db import connections

    def spend_some(number: int) -> int:
        granted = sum(circuits.may_retry(name) for _ in range(number))
        succeed(name, number)
        return granted

    mine = spend_some(3)
    connections.close_all()
    reading, writing = os.pipe()

    def work() -> None:
        os.write(writing, str(spend_some(2)).encode())
        circuits.flush()

    assert in_child(work) == 0
    circuits.flush()
    return [mine, int(os.read(reading, 100))]


def call_and_flush(name: str, times: int) -> None:
    """Make calls that succeed, and flush after each."""
    import circuits

    for _ in range(times):
        with circuits.guard(name):
            pass
        circuits.flush()


def succeed_each(names: list[str]) -> None:
    """Make one call that succeeds through each of the circuits."""
    for name in names:
        succeed(name, 1)


def flush_by_itself(name: str) -> None:
    """Make a call that succeeds, and wait until the background thread has flushed it."""
    from circuits.models import Circuit
    from tests.concurrency import wait_until

    succeed(name, 1)
    wait_until(lambda: Circuit.objects.get(name=name).total_successes == 1, seconds=20)


def fork(name: str, before: int, after: int) -> int:
    """Make calls before a fork, and others in the child; return the child's exit status."""
    from django.db import connections

    succeed(name, before)
    connections.close_all()  # as every server does that forks

    def work() -> None:
        succeed(name, after)
        circuits.flush()

    return in_child(work)


def in_child(work: Callable[[], object]) -> int:
    """Do some work in a forked child; return its exit status."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def fork_with_threads(name: str) -> int:
    """Use the threads of this process and of a forked child; return the child's exit status."""

    async def call(name: str) -> None:
        async with circuits.guard(name):
            pass

    def work() -> None:
        asyncio.run(asyncio.wait_for(call(f"{name} of the child's tasks"), 20))
        flush_by_itself(f"{name} of the child")

    asyncio.run(call(f"{name} of tasks"))
    flush_by_itself(name)  # by now the threads are idle
    return in_child(work)


def fork_with_a_call_under_way(name: str) -> int:
    """Fork while the process watches a call, and return the child's exit status."""
    from circuits.process import entry, identity, runtime
    from circuits.process.underway import FOREVER

    ticket = entry.admit(name)
    parents = identity.own()
    assert runtime.underway.next_look() < FOREVER

    def work() -> None:
        assert runtime.underway.next_look() == FOREVER
        assert identity.own() != parents
        assert runtime.gate(name).process == identity.own()

    status = in_child(work)
    assert ticket.gate.process == identity.own() == parents
    return status


def fork_with_a_failing_step(name: str) -> int:
    """Fork with a failing first step in the child; return the child's exit status."""
    from circuits.process import forks

    taken: list[str] = []

    def trip() -> None:
        raise AttributeError("this driver has no such thing")

    def work() -> None:
        assert taken == ["the next step"]
        succeed(name, 1)
        circuits.flush()

    forks.in_child(trip, lambda: taken.append("the next step"))
    succeed(name, 1)
    return in_child(work)


def fork_while_connected(name: str, by_worker: bool) -> list[str]:
    """Fork with an open connection; the child opens one too, and closes it at its end.

    Args:
        by_worker: Whether a worker of the parent's has opened the connection, to lend it.

    Returns the sessions of the parent before the fork, of the child, and of the parent afterwards.
    """
    from django.db import connections

    from circuits.process import patience, runtime

    def session() -> str:
        if by_worker:
            return patience.answer_of(own_session, runtime.workers, runtime.pulse)
        return own_session()

    def own_session() -> str:
        connection = connections["circuits"]
        sql = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}
        with connection.cursor() as cursor:
            cursor.execute(sql.get(connection.vendor, "SELECT 1"))
            (number,) = cursor.fetchone()
        # SQLite has no sessions, so the connection itself stands for one.
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
            gc.collect()  # what the child has inherited and dropped
            connections.close_all()
            os._exit(0)
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    return [before, os.read(reading, 100).decode(), session()]


def fork_while_one_waits(name: str) -> dict[str, int]:
    """Fork while the only place is taken and a thread waits for it.

    In the child, too, one call waits for another. Returns the exit status of the child, and how
    many calls of the parent were made.
    """
    from circuits.process import runtime
    from tests.concurrency import wait_until

    served: list[str] = []

    def hold(leave: Event) -> None:
        with circuits.guard(name):
            served.append("first")
            leave.wait(20)

    def wait() -> None:
        with circuits.guard(name):
            served.append("second")

    def meet() -> tuple[list[Thread], Event]:
        leave = Event()
        threads = [Thread(target=hold, args=[leave]), Thread(target=wait)]
        threads[0].start()
        wait_until(lambda: served == ["first"])
        threads[1].start()
        wait_until(lambda: runtime.gate(name).places.waiting == 1)
        return threads, leave

    def part(threads: list[Thread], leave: Event) -> None:
        leave.set()
        for thread in threads:
            thread.join(20)
        assert served == ["first", "second"]
        assert runtime.gate(name).places.taken == 0

    def work() -> None:
        served.clear()
        part(*meet())

    threads, leave = meet()
    child = in_child(work)
    part(threads, leave)
    return {"child": child, "served": len(served)}


def migrate(target: str) -> None:
    """Migrate the circuits' tables to a migration."""
    from django.core.management import call_command

    call_command("migrate", "circuits", target, database="circuits", verbosity=0)


def make(name: str, **values: Any) -> str:
    """Make a circuit's row; return the path of the code that made it."""
    from circuits.models import Circuit

    Circuit.objects.create(name=name, **values)
    return str(circuits.__file__)


def expire() -> int:
    """Run ``half_open_expired`` once; return how many circuits it moved."""
    from circuits.tasks import half_open_expired

    return half_open_expired()


def try_once(name: str, url: str) -> float | None:
    """Call a URL and hold the call until let go; if it is refused, return the seconds to wait."""
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
    """Call through the circuits for some seconds; return the records of each circuit."""
    from tests.faults import crowd

    return crowd.call_for(names, threads, seconds)


def pace(name: str, calls_per_second: float, phases: list[list[float]]) -> list[float]:
    """Make calls at an even pace; return the moments at which calls failed."""
    from tests.faults import crowd

    return crowd.pace(name, calls_per_second, phases)


def meet_a_hang(name: str, url: str, way: str, calls: int) -> float:
    """Call a remote that begins to hang; return the moment of this process's first refusal."""
    from tests.faults import hanging

    return hanging.refused_at(name, url, way, calls)


def fail_alone(name: str) -> dict[str, int]:
    """Fail all calls to a remote that others reach; return their counts."""
    from tests.faults import broken

    return broken.fail_alone(name)


def succeed_beside(name: str) -> dict[str, int]:
    """Make calls that succeed, beside a process whose calls fail; return their counts."""
    from tests.faults import broken

    return broken.succeed_beside(name)


def hold(where: str, name: str) -> None:
    """Stop in the middle of an operation, so that the test can kill this process there."""
    from tests.faults import holders

    getattr(holders, where)(name)


def fill_the_disk(name: str) -> dict[str, Any]:
    """Make failing calls while no file may grow, and go on when files may grow again.

    Returns whether the circuit refused meanwhile, and whether the row counted calls afterwards.
    """
    import resource

    from circuits.process import runtime
    from tests.concurrency import wait_until

    def came_back() -> bool:
        try:
            succeed(name, 1)
        except circuits.CircuitOpenError:
            return False  # the snapshot of this process may be a moment old
        return not runtime.store.is_left

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
        measure_with_children,
        count_in_child,
        succeed,
        succeed_each,
        flush_by_itself,
        fork,
        fork_with_threads,
        fork_with_a_call_under_way,
        fork_with_a_failing_step,
        fork_while_connected,
        fork_while_one_waits,
        spend,
        spend_in_child,
        migrate,
        make,
        expire,
        try_once,
        call_for,
        pace,
        hold,
        meet_a_hang,
        fail_alone,
        succeed_beside,
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
    """Set Django up, wait for the start, run the task, and print its result."""
    set_up()
    say_and_wait("ready")
    result: Any = TASKS[task](**json.loads(arguments))
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
