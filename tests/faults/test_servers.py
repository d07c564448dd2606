"""Servers that fork, and servers with many threads: the rows count exactly the calls made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from cbproject import celery_app
from circuits.models import Circuit
from mockapi.hits import hits
from tests.concurrency import PATIENCE, wait_until
from tests.factories import CircuitFactory
from tests.faults.servers import PRELOADED, SERVERS, running, serving

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("committed")]

#: How many calls go through the server; one in ``EVERY`` fails.
CALLS = 60
EVERY = 6
FAILED = CALLS // EVERY


def row() -> Any:
    return Circuit.objects.get(name="example")


@pytest.mark.parametrize("name", SERVERS)
def test_every_call_is_in_the_row_once_when_the_server_has_stopped(
    name: str, remote: str, tmp_path: Path
) -> None:
    """Promise: no connection is shared across a fork, and a clean stop leaves nothing unwritten.

    Here nothing is flushed before the stop, and the parent has used the database before it forked.
    So a lost background thread, a lost last flush, or two processes on one connection would all
    show in the counts.
    """
    CircuitFactory(name="example", threshold=1000)
    kind = "async/" if name.startswith("uvicorn") else ""
    with serving(name, remote, tmp_path) as server, ThreadPoolExecutor(8) as pool:

        def visit(number: int) -> int:
            endpoint = "faulty" if number % EVERY == 0 else "success"
            url = f"{server.url}/examples/{kind}{endpoint}"
            return requests.get(url, timeout=PATIENCE).status_code

        statuses = list(pool.map(visit, range(CALLS)))
        server.stop()
        assert "does not answer" not in server.said
    assert statuses.count(502) == FAILED
    assert statuses.count(200) == CALLS - FAILED
    assert (row().total_successes, row().total_failures) == (CALLS - FAILED, FAILED)
    preloaded = Circuit.objects.filter(name=PRELOADED, total_successes=1).count()
    assert preloaded == ("preload" in name), "what the parent called is the parent's to write"


def test_every_call_of_a_prefork_worker_is_in_the_row_once_when_it_has_stopped(
    remote: str, tmp_path: Path
) -> None:
    """Promise: the same holds for Celery's pool, whose processes run no exit handlers."""
    CircuitFactory(name="example", threshold=1000)
    queue = f"circuits-test-{uuid4().hex}"
    worker = ["celery", "-A", "tests.faults.preloaded:celery", "worker", "-Q", queue]
    flags = ["--pool=prefork", "-c", "2", "--without-gossip", "--without-mingle"]
    for number in range(CALLS):
        url = f"{remote}/{'faulty' if number % EVERY == 0 else 'success'}"
        celery_app.send_task("tests.call", ["example", url], queue=queue)
    with running([*worker, *flags], tmp_path / "worker.log", TEST_REMOTE_URL=remote) as process:
        wait_until(lambda: sum(hits.snapshot().values()) == CALLS)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert (row().total_successes, row().total_failures) == (CALLS - FAILED, FAILED)
    assert Circuit.objects.get(name=PRELOADED).total_successes == 1
