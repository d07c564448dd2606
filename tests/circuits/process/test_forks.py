"""A forked child has a connection and threads of its own, and leaves its parent's alone."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from tests.concurrency import in_processes
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")


@pytest.mark.parametrize("by_worker", [False, True], ids=["of its own", "of a worker"])
def test_a_child_does_not_touch_its_parents_connection(by_worker: bool) -> None:
    (sessions,) = in_processes(1, "fork_while_connected", name="payments", by_worker=by_worker)
    before, in_child, after = sessions
    assert in_child, "the child failed"
    assert in_child != before
    assert after == before, "the child ended the parent's session"


def test_a_child_has_threads_of_its_own(settings: Settings) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "FLUSH_SECONDS": 0.1}
    assert in_processes(1, "fork_with_threads", name="payments") == [0]


def test_a_child_reports_under_its_own_name_and_no_call_of_its_parents() -> None:
    CircuitFactory.create(name="payments", slow_call_seconds=60)
    assert in_processes(1, "fork_with_a_call_under_way", name="payments") == [0]


def test_a_step_that_fails_stops_none_of_the_others() -> None:
    assert in_processes(1, "fork_with_a_failing_step", name="payments") == [0]


def test_a_child_has_places_of_its_own_and_a_queue_for_them() -> None:
    CircuitFactory.create(name="payments", max_concurrent=1, max_wait_seconds=20)
    (seen,) = in_processes(1, "fork_while_one_waits", name="payments")
    assert seen == {"child": 0, "served": 2}
