"""The gates of this process by name: a dict that drops the least recently used ones."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from heapq import nsmallest
from operator import attrgetter
from threading import Lock
from typing import Final

from .. import conf, once_a_minute
from .gate import Gate

logger = logging.getLogger("circuits")

#: The most dropped gates that are kept until they are written, or ``MAX_SNAPSHOTS`` if higher.
MOST_LEAVING: Final = 1_000


class Gates(dict[str, Gate]):
    """At most ``MAX_SNAPSHOTS`` gates, looked up by a dict's plain ``get``."""

    def __init__(self) -> None:
        super().__init__()
        self.forget()

    def forget(self) -> None:
        """Forget all gates, unwritten tallies included."""
        self.clear()
        self._lock = Lock()
        self._leaving: list[Gate] = []

    def add(self, gate: Gate) -> Gate:
        """Add a gate and return it, or the one that another thread has added first."""
        kept = self.setdefault(gate.name, gate)
        if len(self) > conf.get().max_snapshots:
            self._make_room()
        return kept

    def keep_only(self, home: object) -> None:
        """Drop the gates of any other database, and their tallies."""
        for each in list(self.values()):
            if each.home != home:
                self.pop(each.name, None)
        with self._lock:
            self._leaving = [each for each in self._leaving if each.home == home]

    @contextmanager
    def all_of_them(self) -> Iterator[list[Gate]]:
        """Yield all gates, including those dropped since the last time.

        A dropped gate that still holds tallies when the block ends is kept for the next time.
        """
        with self._lock:
            leaving, self._leaving = self._leaving, []
        try:
            yield [*list(self.values()), *leaving]
        finally:
            self._keep(gate for gate in leaving if gate.is_troubled or gate.tallies.holds_any())

    def _make_room(self) -> None:
        with self._lock:
            most = conf.get().max_snapshots
            excess = len(self) - most
            if excess <= 0:
                return
            # Drop more than needed, so that the next new name need not look through them again.
            used_at = attrgetter("used_at")
            gone = nsmallest(excess + most // 10, list(self.values()), key=used_at)
            for gate in gone:
                self._leaving.append(gate)
                self.pop(gate.name, None)

    def _keep(self, unwritten: Iterable[Gate]) -> None:
        """Keep dropped gates that could not be written, the latest if there are too many.

        While the database is away the number of new names has no limit, but memory does.
        """
        with self._lock:
            self._leaving = [*unwritten, *self._leaving]
            excess = max(0, len(self._leaving) - max(conf.get().max_snapshots, MOST_LEAVING))
            del self._leaving[:excess]
        if excess and once_a_minute.is_due("tallies lost"):
            logger.error(
                "What %d circuits no longer in use had gathered could not be written for too "
                "long; their successes and refusals since then are lost.",
                excess,
            )
