"""Running one thing in many threads or processes at once, and waiting for a condition."""

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

#: Where the project is.
HERE: Final = Path(__file__).parents[1]

#: Seconds after which a test that waits for others has failed.
PATIENCE: Final = 60.0


def in_threads(number: int, work: Callable[[int], T], patience: float = PATIENCE) -> list[T]:
    """Run ``work(index)`` in that many threads, all begun at once; return what they return."""
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
    """Let the interpreter switch threads wherever it can, so that they get in each other's way."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


class Meeting:
    """A place where two threads must never be at once.

    ``pass_through`` is called inside a section that one thread at a time may enter. It waits there
    for another thread to come: if one does, nothing keeps them apart.
    """

    #: Seconds to wait; a thread that nothing keeps away comes much sooner.
    SECONDS: Final = 0.5

    def __init__(self) -> None:
        self._barrier = Barrier(2)
        self.has_happened = False

    def pass_through(self) -> None:
        """Wait for another thread to come to the same place."""
        with suppress(BrokenBarrierError):
            self._barrier.wait(self.SECONDS)
            self.has_happened = True


def in_time(work: Callable[[], T], patience: float) -> T:
    """Return what ``work`` returns; that it takes too long fails the test and holds nobody up.

    A thread that hangs is left behind, so this is for what a fault would let wait for ever.
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
    """Return the environment from which a child process sets itself up as this test is."""
    names = {alias: connections[alias].settings_dict["NAME"] for alias in connections}
    return {
        **os.environ,
        "TEST_DATABASE_NAMES": json.dumps(names),
        "TEST_CIRCUITS": json.dumps(settings.CIRCUITS),
    }


def start_worker(task: str, *, code: Path | None = None, **arguments: Any) -> subprocess.Popen[str]:
    """Start a function of :mod:`tests.worker` in a process of its own.

    It has the databases and the ``CIRCUITS`` setting of this test. It prints ``ready`` and waits
    for a line before it begins, so that many can begin at once; its last line is what it
    returned, as JSON.

    Args:
        code: A folder whose packages it runs on in place of this one's.
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
    """Let workers go on once all of them have come to the word at which they wait."""
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == f"{at}\n"
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()


def result_of(worker: subprocess.Popen[str], patience: float = PATIENCE) -> Any:
    """Wait for a worker and return what its function returned."""
    output, _ = worker.communicate(timeout=patience)
    assert worker.returncode == 0, f"the worker ended with {worker.returncode}"
    return json.loads(output.splitlines()[-1])


def in_processes(number: int, task: str, **arguments: Any) -> list[Any]:
    """Run a function of :mod:`tests.worker` in that many processes, all begun at once."""
    workers = [start_worker(task, **arguments) for _ in range(number)]
    try:
        let_go(*workers)
        return [result_of(worker) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until the condition holds, and fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)


def interrupted(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Press Ctrl-C until a process ends; return the rest of its output and its complaints.

    Python ignores the one that comes while it finalizes an object.
    """
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=4)
    process.kill()
    raise AssertionError(f"it goes on: {process.communicate()}")
