"""Runs something in many threads or processes at once, and waits for conditions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError, Thread
from typing import Any, Final, TypeVar

from django.conf import settings
from django.db import connections

T = TypeVar("T")

#: The folder of the project.
HERE: Final = Path(__file__).parents[1]

#: Seconds after which a test that waits for others has failed.
PATIENCE: Final = 60.0


def in_threads(number: int, work: Callable[[int], T], patience: float = PATIENCE) -> list[T]:
    """Run ``work(index)`` in ``number`` threads that start together, and return the results."""
    barrier = Barrier(number)

    def run(index: int) -> T:
        barrier.wait(PATIENCE)
        try:
            return work(index)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number), timeout=patience))


@contextmanager
def switching_often() -> Iterator[None]:
    """Let the interpreter switch threads as often as it can, so that races show."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


class Meeting:
    """Detects two threads in a section that only one at a time may enter.

    Call :meth:`pass_through` inside the section. It waits there for another thread to arrive; if
    one does, nothing keeps the two apart.
    """

    #: Seconds to wait; a thread that nothing keeps out arrives much sooner.
    SECONDS: Final = 0.5

    def __init__(self) -> None:
        self._barrier = Barrier(2)
        self.has_happened = False

    def pass_through(self) -> None:
        """Wait for another thread to arrive at the same place."""
        with suppress(BrokenBarrierError):
            self._barrier.wait(self.SECONDS)
            self.has_happened = True


def in_time(work: Callable[[], T], patience: float) -> T:
    """Do some work in a thread and return its result; fail the test if it takes too long.

    Use it for work that a fault would let hang for ever. A thread that hangs is left behind.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)
        finally:
            connections.close_all()

    Thread(target=run, daemon=True).start()
    return done.result(timeout=patience)


def environment() -> dict[str, str]:
    """Return the environment in which a child process has the settings of this test."""
    names = {alias: connections[alias].settings_dict["NAME"] for alias in connections}
    return {
        **os.environ,
        "TEST_DATABASE_NAMES": json.dumps(names),
        "TEST_CIRCUITS": json.dumps(settings.CIRCUITS),
    }


def start_worker(task: str, *, code: Path | None = None, **arguments: Any) -> subprocess.Popen[str]:
    """Start a function of :mod:`tests.worker` in a process of its own.

    The process has the databases and the ``CIRCUITS`` setting of this test. It prints ``ready`` and
    waits for a line of input before it begins, so that many can begin together. Its last line of
    output is the result, as JSON.

    Args:
        code: A folder with packages that the process imports instead of those of the project.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "tests.worker", task, json.dumps(arguments)],
        env={**environment(), "PYTHONPATH": str(HERE)},
        cwd=code or HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def let_go(*workers: subprocess.Popen[str], at: str = "ready") -> None:
    """Let workers go on together, once each of them has printed the word at which it waits."""
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == f"{at}\n"
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()


def result_of(worker: subprocess.Popen[str], patience: float = PATIENCE) -> Any:
    """Wait for a worker to end, and return the result of its function."""
    output, _ = worker.communicate(timeout=patience)
    assert worker.returncode == 0, f"the worker ended with {worker.returncode}"
    return json.loads(output.splitlines()[-1])


def in_processes(number: int, task: str, **arguments: Any) -> list[Any]:
    """Run a function of :mod:`tests.worker` in ``number`` processes that start together."""
    workers = [start_worker(task, **arguments) for _ in range(number)]
    try:
        let_go(*workers)
        return [result_of(worker) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until a condition holds, and fail if it does not hold in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)


def interrupted(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Send Ctrl-C to a process until it ends; return the rest of its output and of its errors.

    It is sent repeatedly because Python ignores one that arrives while it finalizes an object.
    """
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=4)
    process.kill()
    raise AssertionError(f"it goes on: {process.communicate()}")
