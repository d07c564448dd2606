"""Connection pools, ``OPTIONS["pool"]``: an idle thread keeps no connection that others want."""

from __future__ import annotations

from django.db import connections


def give_back() -> None:
    """Give this thread's connections back to their pools; those of no pool stay open.

    For threads that wait for their next work: whoever is left without a connection of the pool
    would wait for it in vain.
    """
    for connection in connections.all(initialized_only=True):
        if connection.settings_dict["OPTIONS"].get("pool"):
            connection.close()
