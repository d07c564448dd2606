"""A forked child has a connection of its own, and leaves its parent's alone."""

from __future__ import annotations

import pytest

from tests.concurrency import in_processes

pytestmark = pytest.mark.usefixtures("committed")


def test_a_child_does_not_touch_its_parents_connection() -> None:
    (sessions,) = in_processes(1, "fork_while_connected", name="payments")
    before, in_child, after = sessions
    assert in_child, "the child failed"
    assert in_child != before
    assert after == before, "the child ended the parent's session"
