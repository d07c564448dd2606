"""The same site, which calls through a circuit while it is loaded.

A server that forks after that has a connection, a gate and a flush thread that its children must
leave to it.
"""

from __future__ import annotations

import circuits
from tests.faults.servers import PRELOADED
from tests.faults.site import celery, wsgi

__all__ = ["celery", "wsgi"]

with circuits.guard(PRELOADED):
    pass
