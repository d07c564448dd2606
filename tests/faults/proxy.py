"""A proxy to a server that can be broken and mended while traffic goes through it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Lock, Thread
from typing import Any, Final

from django.db import connections

#: The option of a socket by which closing it resets the connection at once.
_AT_ONCE: Final = struct.pack("ii", 1, 0)

_CHUNK: Final = 65536


class Proxy:
    """Passes on what it receives, until told otherwise.

    Args:
        server: The host and port of the server.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._questions_pass = Event()
        self._answers_pass = Event()
        self._accepts = Event()
        self._lock = Lock()
        self._open: set[socket.socket] = set()
        self.port = 0
        self.mend()

    @property
    def open_connections(self) -> int:
        """The number of open sockets: two for each connection that is passed on."""
        return len(self._open)

    def mend(self) -> None:
        """Pass everything on again, including what was held back."""
        for each in (self._questions_pass, self._answers_pass, self._accepts):
            each.set()

    def stall(self) -> None:
        """Accept everything and pass nothing on, so that neither side notices."""
        self._questions_pass.clear()
        self._answers_pass.clear()

    def keep_answers(self) -> None:
        """Pass requests on to the server, and hold its answers back."""
        self._answers_pass.clear()

    def cut(self, *, refuse: bool = False) -> None:
        """Reset all connections.

        Args:
            refuse: Whether new connections are reset as well.
        """
        if refuse:
            self._accepts.clear()
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            _reset(end)

    def serve(self, client: socket.socket) -> None:
        """Pass on what one connection sends until either side ends it."""
        if not self._accepts.is_set():
            _reset(client)
            return
        with suppress(OSError), socket.create_connection(self._server) as server:
            with self._lock:
                self._open |= {client, server}
            answers = Thread(target=self._pass_on, args=(server, client, self._answers_pass))
            answers.start()
            self._pass_on(client, server, self._questions_pass)
            answers.join()
            with self._lock:
                self._open -= {client, server}

    def _pass_on(self, source: socket.socket, target: socket.socket, passes: Event) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                passes.wait()
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        end.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 256


@contextmanager
def proxy_to(server: tuple[str, int]) -> Iterator[Proxy]:
    """Run a proxy to a server, on a port of its own, while the block runs."""
    proxy = Proxy(server)

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            proxy.serve(self.request)

    with _Server(("127.0.0.1", 0), Handler) as front:
        proxy.port = front.server_address[1]
        thread = Thread(target=front.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.cut(refuse=True)
            proxy.mend()  # what is held back finds its connection gone
            front.shutdown()
            thread.join()


def _timeouts(vendor: str, seconds: float) -> dict[str, Any]:
    """Return the options of a connection that waits no longer than some seconds."""
    if vendor == "mysql":
        return {"connect_timeout": seconds, "read_timeout": seconds}
    from circuits.postgresql import cursor_within  # which needs the driver

    return {"connect_timeout": seconds, "cursor_factory": cursor_within(seconds)}


@contextmanager
def proxied(seconds: int = 0) -> Iterator[Proxy]:
    """Let this process reach the circuits' database through a proxy while the block runs.

    Args:
        seconds: How long to wait for a connection and for each answer; 0 keeps the timeouts of the
            alias.
    """
    connection = connections["circuits"]
    where: dict[str, Any] = connection.settings_dict
    kept = {key: where[key] for key in ("HOST", "PORT", "OPTIONS")}
    if seconds:
        where["OPTIONS"] = {**kept["OPTIONS"], **_timeouts(connection.vendor, seconds)}
    with proxy_to((where["HOST"], int(where["PORT"]))) as proxy:
        connection.close()
        where.update(HOST="127.0.0.1", PORT=str(proxy.port))
        try:
            yield proxy
        finally:
            connection.close()
            where.update(kept)
