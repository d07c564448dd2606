"""A remote on this machine that gives any answer, even an odd one, and records the requests."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http.client import parse_headers
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Event, Lock, Thread
from typing import Any, Final

from tests.concurrency import PATIENCE


@dataclass(frozen=True)
class Request:
    method: str
    #: The path of the request, with its query.
    target: str
    headers: Message
    body: bytes


Answer = Callable[[Request], bytes]

#: Stands for an answer, and resets the connection instead.
RESET: Final = b""


def answer(status: int = 200, body: bytes = b"{}", **headers: str) -> bytes:
    """Return a complete answer that keeps the connection open."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


#: Broken answers, after each of which the connection ends.
ILL: Final = {
    "no answer": RESET,
    "no HTTP": b"how do you do\r\n\r\n",
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
    "cut chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nonly this",
    "bad gzip": answer(body=b"no gzip", Content_Encoding="gzip", Connection="close"),
}


def echo(request: Request) -> bytes:
    """Return an answer whose body is the request itself."""
    content: dict[str, Any] = {
        "method": request.method,
        "target": request.target,
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "body": request.body.decode(),
    }
    return answer(body=json.dumps(content).encode(), Content_Type="application/json")


class _Server(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256


class Remote:
    """A server that records the requests it gets.

    Args:
        reply: Returns the answer to a request.
        stays: Whether the connection stays open after an answer.
    """

    def __init__(self, reply: Answer, *, stays: bool = True) -> None:
        self._reply = reply
        self._stays = stays
        self._lock = Lock()
        self._open: set[socket.socket] = set()
        self.requests: list[Request] = []
        self.connections = 0
        self.url = ""

    @property
    def open_connections(self) -> int:
        """The number of connections that callers still hold."""
        return len(self._open)

    def serve(self, connection: socket.socket, lines: Any) -> None:
        """Answer the requests of one connection."""
        with self._lock:
            self.connections += 1
            self._open.add(connection)
        with suppress(OSError):
            while (request := _read(lines)) is not None:
                self.requests.append(request)
                reply = self._reply(request)
                if reply == RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                    break
                connection.sendall(reply)
                if not self._stays:
                    break
        with self._lock:
            self._open.discard(connection)

    def hang_up(self) -> None:
        """End all connections."""
        with self._lock, suppress(OSError):
            for connection in self._open:
                connection.shutdown(socket.SHUT_RDWR)


_AT_ONCE: Final = struct.pack("ii", 1, 0)


def _read(lines: Any) -> Request | None:
    first = lines.readline().decode()
    if not first:
        return None
    method, target, _ = first.split()
    headers = parse_headers(lines)
    return Request(method, target, headers, lines.read(int(headers.get("Content-Length", 0))))


@contextmanager
def remote_that(reply: bytes | Answer, *, stays: bool = True) -> Iterator[Remote]:
    """Serve a remote while the block runs.

    Args:
        reply: The answer to all requests, or a function that returns the answer to one.
        stays: Whether connections stay open after an answer.
    """
    remote = Remote(reply if callable(reply) else lambda request: reply, stays=stays)

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            remote.serve(self.request, self.rfile)

    with _Server(("127.0.0.1", 0), Handler) as server:
        remote.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield remote
        finally:
            server.shutdown()
            thread.join()
            remote.hang_up()


@contextmanager
def silent_remote() -> Iterator[Remote]:
    """Serve a remote that does not answer until the block ends."""
    over = Event()

    def reply(request: Request) -> bytes:
        over.wait(PATIENCE)
        return answer()

    with remote_that(reply) as remote:
        try:
            yield remote
        finally:
            over.set()


@contextmanager
def nobody() -> Iterator[str]:
    """Yield the URL of a port that is taken but not listened on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def full_remote() -> Iterator[str]:
    """Yield the URL of a port whose queue is full, so that connecting to it hangs."""
    with ExitStack() as waiting:
        listening = waiting.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1))
        for _ in range(4):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
