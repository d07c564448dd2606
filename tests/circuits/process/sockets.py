"""A connection to SQLite that waits on a socket for slow answers, as one to a server does."""

from __future__ import annotations

import socket
import sqlite3
from itertools import count
from typing import Any

_numbers = count(1)


class Connection(sqlite3.Connection):
    """A connection that is lost once its socket is shut down.

    Its SQL function ``session()`` returns its number, and ``sleep(seconds)`` waits.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._number = next(_numbers)
        self._ours, self._server = socket.socketpair()
        self.create_function("session", 0, self._session)
        self.create_function("sleep", 1, self._sleep)

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._ours.fileno()

    def close(self) -> None:
        """Close the connection and the socket."""
        self._ours.close()
        self._server.close()
        super().close()

    def _session(self) -> int:
        self._sleep(0)
        return self._number

    def _sleep(self, seconds: float) -> None:
        self._ours.settimeout(max(seconds, 0.001))
        try:
            self._ours.recv(1)
        except TimeoutError:
            return
        raise ConnectionError("the socket is shut down")  # SQLite makes it an error of its own
