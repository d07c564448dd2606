"""Counts the requests that reach each endpoint of this process.

A request that is answered 400 for a bad parameter counts too: the counts show whether a call came
over the network, and such a call did.
"""

from collections.abc import Iterable
from threading import Lock


class HitCounter:
    """Counts the requests to a fixed set of endpoints, exactly even with many threads."""

    def __init__(self, endpoints: Iterable[str]) -> None:
        self._lock = Lock()
        self._counts = dict.fromkeys(endpoints, 0)

    def record(self, endpoint: str) -> None:
        """Count one request to an endpoint."""
        with self._lock:
            self._counts[endpoint] += 1

    def snapshot(self) -> dict[str, int]:
        """Return the counts of all endpoints at one moment, including zeros."""
        with self._lock:
            return dict(self._counts)

    def reset(self) -> None:
        """Set all counts to zero."""
        with self._lock:
            self._counts = dict.fromkeys(self._counts, 0)


hits = HitCounter(("success", "faulty", "slow", "flaky"))
