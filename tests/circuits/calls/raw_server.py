"""A remote whose answers a test writes byte by byte, so that they can break anywhere."""

from __future__ import annotations

import gzip
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.client import parse_headers
from io import BufferedIOBase
from itertools import chain, repeat
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from typing import Final

from circuits.process import observers
from circuits.process.observers import CallOutcome

#: Seconds that a client of these tests waits for a silent remote.
SHORT: Final = 0.3

#: Seconds after which the remote stops waiting for the test.
PATIENCE: Final = 20.0


@dataclass(frozen=True)
class Request:
    """A request that arrived; ``stopped`` is set when the test is over."""

    method: str
    path: str
    headers: Message
    body: bytes
    stopped: Event


class Unencrypted(bytes):
    """A part of an answer that is sent without TLS, so that the client finds TLS broken."""


class Cut(Exception):  # noqa: N818 - what it is
    """Raised by an answer to close the connection at that point."""


Answer = Callable[[Request], Iterable[bytes]]


@dataclass
class RawServer:
    """The running remote.

    Args:
        url: Its base URL.
        connections: How many connections it has accepted.
        requests: The requests that arrived, in order.
        names: The hosts that clients named in their TLS handshakes.
    """

    url: str
    connections: int = 0
    requests: list[Request] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


#: The host name of :func:`serving` under TLS, and the certificate for it.
TLS_HOST: Final = "pay.example"
_TLS: Final = Path(__file__).parents[2] / "tls"
CA_FILE: Final = str(_TLS / "ca.pem")


class _Handler(StreamRequestHandler):
    """The server's side of a connection, which the client may have closed."""

    def write(self, piece: bytes) -> None:
        if isinstance(piece, Unencrypted):
            with socket.socket(fileno=os.dup(self.request.fileno())) as beneath:
                beneath.sendall(piece)
        else:
            self.wfile.write(piece)

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        if isinstance(self.request, ssl.SSLSocket):
            self.request.close()  # the server closes only the socket below TLS


class _Server(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # the client has gone, as it should in some tests


@contextmanager
def serving(answer: Answer, *, tls: bool = False, socks: bool = False) -> Iterator[RawServer]:
    """Send what ``answer`` yields for each request, on connections that stay open.

    Args:
        tls: Whether it speaks TLS, as :data:`TLS_HOST`.
        socks: Whether it is a SOCKS proxy, which answers in place of whatever host is asked for.
    """
    stopped = Event()

    class Handler(_Handler):
        def setup(self) -> None:
            if tls:
                self.request = _under_tls(self.request, remote)
            super().setup()
            if socks:
                _agree_on_socks(self.request)

        def handle(self) -> None:
            remote.connections += 1
            while request := _read_request(self.rfile, stopped):
                remote.requests.append(request)
                try:
                    for piece in answer(request):
                        self.write(piece)
                except Cut:
                    return

    with _Server(("127.0.0.1", 0), Handler) as server:
        remote = RawServer(f"http://127.0.0.1:{server.server_address[1]}")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield remote
        finally:
            stopped.set()
            server.shutdown()
            thread.join()


def _under_tls(connection: socket.socket, remote: RawServer) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_TLS / "pay.example.pem")
    context.sni_callback = lambda _socket, name, _context: remote.names.append(name)
    return context.wrap_socket(connection, server_side=True)


def _agree_on_socks(connection: socket.socket) -> None:
    connection.recv(3)  # the version, and one way to log in: none
    connection.sendall(b"\x05\x00")
    connection.recv(262)  # the host to connect to
    connection.sendall(b"\x05\x00\x00\x01" + bytes(6))


def _read_request(stream: BufferedIOBase, stopped: Event) -> Request | None:
    try:
        line = stream.readline().decode("ascii").split()
        if len(line) != 3:
            return None
        headers = parse_headers(stream)
        return Request(line[0], line[1], headers, _read_body(stream, headers), stopped)
    except OSError:
        return None


def _read_body(stream: BufferedIOBase, headers: Message) -> bytes:
    if headers.get("Transfer-Encoding") != "chunked":
        return stream.read(int(headers.get("Content-Length", 0)))
    body = b""
    while size := int(stream.readline(), 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body


# Answers -----------------------------------------------------------------------------------------


def head(*lines: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """Return the head of an answer."""
    sized = () if length is None else (f"Content-Length: {length}",)
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, *sized, "", ""]).encode()


def whole(body: bytes = b"first\nsecond\n", *lines: str, status: str = "200 OK") -> bytes:
    """Return a complete answer."""
    return head(*lines, status=status, length=len(body)) + body


def chunk(body: bytes) -> bytes:
    """Return a chunk of a chunked body; an empty chunk is the last."""
    return b"%x\r\n%s\r\n" % (len(body), body)


CHUNKED: Final = "Transfer-Encoding: chunked"
GZIPPED: Final = "Content-Encoding: gzip"


def good(request: Request) -> Iterator[bytes]:
    """An answer in two pieces."""
    yield head(length=13) + b"first\n"
    yield b"second\n"


def good_chunks(request: Request) -> Iterator[bytes]:
    """A chunked answer."""
    yield head(CHUNKED) + chunk(b"first\n") + chunk(b"second\n") + chunk(b"")


def good_gzip(request: Request) -> Iterator[bytes]:
    """A compressed answer."""
    yield whole(gzip.compress(b"first\nsecond\n"), GZIPPED)


def cut(request: Request) -> Iterator[bytes]:
    """An answer that ends before its length."""
    yield head(length=1000) + b"first\n"
    raise Cut


def cut_chunks(request: Request) -> Iterator[bytes]:
    """A chunked answer whose last chunk never comes."""
    yield head(CHUNKED) + chunk(b"first\n")
    raise Cut


def bad_chunk(request: Request) -> Iterator[bytes]:
    """A chunked answer with a size that is not a number."""
    yield head(CHUNKED) + chunk(b"first\n") + b"what?\r\n"
    raise Cut


def bad_gzip(request: Request) -> Iterator[bytes]:
    """An answer that claims to be compressed and is not."""
    yield whole(b"this was never compressed", GZIPPED)


def silent(request: Request) -> Iterator[bytes]:
    """An answer that begins and then stalls."""
    yield head(length=1000) + b"first\n"
    request.stopped.wait(PATIENCE)
    raise Cut


def broken_tls(request: Request) -> Iterator[bytes]:
    """An answer that breaks off with bytes that are not TLS."""
    yield head(length=1000) + b"first\n"
    yield Unencrypted(b"this was never encrypted")
    request.stopped.wait(PATIENCE)
    raise Cut


def dripping(answer: Iterable[bytes]) -> Answer:
    """Return an answer that arrives in small pieces, for as long as the test runs."""

    def drip(request: Request) -> Iterator[bytes]:
        for piece in answer:
            yield piece
            if request.stopped.wait(0.05):
                raise Cut

    return drip


#: The places in which a remote can drip: status, head, heads before the real one, and body.
DRIPS: Final = {
    "status": lambda: dripping(repeat(b"H")),
    "header": lambda: dripping(chain([head()[:-2]], repeat(b"X: y\r\n", 90), repeat(b"x"))),
    "interim": lambda: dripping(repeat(head(status="100 Continue"))),
    "body": lambda: dripping(chain([head(length=10**9)], repeat(b"x"))),
}


class Gate:
    """An answer of two halves, of which the second is sent when the test says so."""

    def __init__(self) -> None:
        self.opened = Event()

    def __call__(self, request: Request) -> Iterator[bytes]:
        yield head(length=13) + b"first\n"
        assert self.opened.wait(PATIENCE)
        yield b"second\n"


# What the circuits made of it --------------------------------------------------------------------


@contextmanager
def hearing() -> Iterator[list[str]]:
    """Yield a list of the outcomes of the calls made while the block runs, in order."""
    heard: list[str] = []

    def hear(name: str, outcome: CallOutcome, seconds: float) -> None:
        heard.append(outcome.value)

    observers.add(hear)
    yield heard
    observers.remove(hear)
