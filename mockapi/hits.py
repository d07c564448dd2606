"""How often each endpoint was reached, counted in this process.

Every request that reached an endpoint counts, also one answered 400 for a bad parameter: the
counts are there to prove whether a call came over the network, and such a call did.
"""

from collections.abc import Iterable
from threading import Lock


class HitCounter:
    """Exact counts under many threads, for a fixed set of endpoints."""

    def __init__(self, endpoints: Iterable[str]) -> None:
        self._lock = Lock()
        self._counts = dict.fromkeys(endpoints, 0)

    def record(self, endpoint: str) -> None:
        with self._lock:
            self._counts[endpoint] += 1

    def snapshot(self) -> dict[str, int]:
        """All counts at one moment, those at zero too."""
        with self._lock:
            return dict(self._counts)

    def reset(self) -> None:
        with self._lock:
            self._counts = dict.fromkeys(self._counts, 0)


hits = HitCounter(("success", "faulty", "slow", "flaky"))
