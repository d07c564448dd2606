"""The site of :mod:`tests.faults.site`, which calls through a circuit while it is loaded.

A server that forks afterwards has a connection, a gate and a background thread that its children
must not use.
"""

from __future__ import annotations

import circuits
from tests.faults.servers import PRELOADED
from tests.faults.site import celery, wsgi

__all__ = ["celery", "wsgi"]

with circuits.guard(PRELOADED):
    pass
