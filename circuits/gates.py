"""The gates of this process, by name: a dict that lets go of what was not used for longest."""

from __future__ import annotations

from heapq import nsmallest
from operator import attrgetter
from threading import Lock

from . import conf
from .gate import Gate


class Gates(dict[str, Gate]):
    """At most ``MAX_SNAPSHOTS`` gates. Looking one up is a dict's ``get`` and nothing more."""

    def __init__(self) -> None:
        super().__init__()
        self.forget()

    def forget(self) -> None:
        """Forget all of them, unwritten tallies included."""
        self.clear()
        self._lock = Lock()
        self._leaving: list[Gate] = []

    def add(self, gate: Gate) -> Gate:
        """Keep a gate, and return the one that counts: another thread may have been first."""
        kept = self.setdefault(gate.name, gate)
        if len(self) > conf.get().max_snapshots:
            self._make_room()
        return kept

    def flush(self) -> None:
        """Write down what each has gathered, those let go since the last time included.

        Raises:
            django.db.Error: The database does not answer. Nothing is lost: the next flush tries
                again.
        """
        for each in list(self.values()):
            each.flush()
        with self._lock:
            leaving, self._leaving = self._leaving, []
        try:
            while leaving:
                leaving[-1].flush()
                leaving.pop()
        finally:
            with self._lock:
                self._leaving += leaving

    def _make_room(self) -> None:
        with self._lock:
            most = conf.get().max_snapshots
            excess = len(self) - most
            if excess <= 0:
                return
            # Some more than needed, so that the next new name need not look through all of them.
            used_at = attrgetter("used_at")
            for gate in nsmallest(excess + most // 10, list(self.values()), key=used_at):
                self._leaving.append(gate)
                self.pop(gate.name, None)
