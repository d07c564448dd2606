"""Returns connections to the pools of ``OPTIONS["pool"]``, so that idle threads keep none."""

from __future__ import annotations

from django.db import connections


def give_back() -> None:
    """Give this thread's connections back to their pools; connections without a pool stay open.

    A thread calls this before it waits for its next work. A connection that it kept would be
    missing in the pool for other threads.
    """
    for connection in connections.all(initialized_only=True):
        if connection.settings_dict["OPTIONS"].get("pool"):
            connection.close()
