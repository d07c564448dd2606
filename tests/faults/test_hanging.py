"""Calls to a remote that hangs are refused in all processes before the first of them times out."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest

from circuits.models import Circuit
from tests.circuits.calls.raw_server import Request, serving
from tests.concurrency import let_go, result_of, start_worker
from tests.factories import CircuitFactory
from tests.faults.hanging import TIMEOUT

pytestmark = pytest.mark.usefixtures("committed")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


@pytest.mark.parametrize(
    ("way", "processes", "calls"), [("sync", 3, 1), ("async", 1, 3), ("body", 2, 2)]
)
def test_a_remote_that_hangs_is_refused_everywhere(way: str, processes: int, calls: int) -> None:
    """Promise: with ``slow_call_seconds``, all processes refuse before the first call times out.

    This checks only that no timeout is needed; `bench/site` measures how long it takes.
    """
    CircuitFactory.create(name="payments", slow_call_seconds=0.5, threshold=3)
    hangs_at = float("inf")

    def answer(request: Request) -> Iterable[bytes]:
        is_body = request.path == "/body"
        if is_body:
            yield HEAD
        if time.time() >= hangs_at:
            request.stopped.wait(2 * TIMEOUT)
        yield b"ok" if is_body else HEAD + b"ok"

    with serving(answer) as remote:
        workers = [
            start_worker(
                "meet_a_hang",
                name="payments",
                url=remote.url,
                way=way,
                calls=calls,
            )
            for _ in range(processes)
        ]
        try:
            let_go(*workers)
            let_go(*workers, at="calling")
            hangs_at = time.time() + 0.5
            refused_at = [result_of(worker) for worker in workers]
        finally:
            for worker in workers:
                worker.kill()
    assert max(refused_at) - hangs_at < TIMEOUT
    assert min(refused_at) >= hangs_at
    assert Circuit.objects.get(name="payments").last_error.startswith("SlowCall: under way for 0.")
