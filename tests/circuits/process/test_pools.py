"""Connections of a pool go back to it, and others stay open.

What a real pool makes of them is tested in ``tests/projects/test_servers.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connections

from circuits.process import pools
from circuits.process.workers import Workers
from tests.concurrency import PATIENCE

ALIAS = "circuits"

pytestmark = [
    pytest.mark.usefixtures("committed"),
    pytest.mark.skipif(connections[ALIAS].vendor != "sqlite", reason="a server has a real pool"),
]


@contextmanager
def pool() -> Iterator[None]:
    """Let the connections that are open seem to come from a pool."""
    options = connections[ALIAS].settings_dict["OPTIONS"]
    options["pool"] = True
    try:
        yield
    finally:
        del options["pool"]


def test_only_a_connection_of_a_pool_is_given_back() -> None:
    connection = connections[ALIAS]
    connection.ensure_connection()
    pools.give_back()
    assert connection.connection is not None
    with pool():
        pools.give_back()
    assert connection.connection is None


def test_a_worker_gives_its_connection_back_after_its_work() -> None:
    workers = Workers()
    connect = workers.submit(lambda: connections[ALIAS].ensure_connection())
    assert connect.wait(PATIENCE)
    with pool():
        assert workers.submit(lambda: None).wait(PATIENCE)
    errand = workers.submit(lambda: connections[ALIAS].connection)
    assert errand.wait(PATIENCE)
    assert errand.result() is None
