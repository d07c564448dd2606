"""Servers that fork, and servers of many threads: what was called is what the rows say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from circuits.models import Circuit
from tests.concurrency import PATIENCE
from tests.factories import CircuitFactory
from tests.faults.servers import PRELOADED, SERVERS, serving

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("committed")]

#: How many calls go through the server, and every which of them fails.
CALLS = 60
EVERY = 6


def row() -> Any:
    return Circuit.objects.get(name="example")


@pytest.mark.parametrize("name", SERVERS)
def test_every_call_is_in_the_row_once_when_the_server_has_stopped(
    name: str, remote: str, tmp_path: Path
) -> None:
    """Promise: no connection is shared across a fork, and a clean stop leaves nothing unwritten.

    Nothing is flushed before the stop here, and the parent has asked the database before it
    forked: a lost flush thread, a lost last flush, or two processes on one connection, all show
    in the counts.
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
    failed = CALLS // EVERY
    assert statuses.count(502) == failed
    assert statuses.count(200) == CALLS - failed
    assert (row().total_successes, row().total_failures) == (CALLS - failed, failed)
    preloaded = Circuit.objects.filter(name=PRELOADED, total_successes=1).count()
    assert preloaded == ("preload" in name), "what the parent called is the parent's to write"
