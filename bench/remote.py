"""The remote that the HTTP cases call: a server on this machine, in a process of its own.

It does as little as a server can, so that the caller is what is measured.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Final

HOST: Final = "127.0.0.1"

ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"

END_OF_REQUEST: Final = b"\r\n\r\n"

#: Seconds within which the process must start, and within which it must end.
PATIENCE: Final = 20.0


@contextmanager
def serving() -> Iterator[str]:
    """Serve while the block runs, and yield the URL.

    Raises:
        TimeoutError: The server did not start.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        if not ours.poll(PATIENCE):
            raise TimeoutError(f"The server did not start within {PATIENCE:.0f} seconds.")
        yield f"http://{HOST}:{ours.recv()}/"
    finally:
        process.terminate()
        process.join(PATIENCE)


class _Answering(asyncio.Protocol):
    """Answers every request alike. All requests are GETs, which have no body."""

    def __init__(self) -> None:
        self._asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._asked += data
        while END_OF_REQUEST in self._asked:
            self._asked = self._asked.partition(END_OF_REQUEST)[2]
            self._transport.write(ANSWER)


def _serve(parent: Connection) -> None:
    asyncio.run(_serve_for_ever(parent))


async def _serve_for_ever(parent: Connection) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Answering, HOST, 0, backlog=2048)
    parent.send(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()
