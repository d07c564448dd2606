"""A remote that is well, hangs for a while, and then recovers."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Final

HOST: Final = "127.0.0.1"

#: Seconds that the remote takes to answer while it is well.
SECONDS: Final = 0.02

ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

#: Seconds within which the process must start, and within which it must end.
PATIENCE: Final = 20.0


class Remote:
    """A remote in a process of its own.

    Args:
        url: The address that answers.
        outage: Shared memory for when the outage begins and ends, on the monotonic clock.
        reached: Shared memory for how many calls arrived in the outage.
    """

    def __init__(self, url: str, outage: Any, reached: Any) -> None:
        self.url = url
        self._outage = outage
        self._reached = reached

    def hang(self, start: float, end: float) -> None:
        """Leave calls that arrive from ``start`` on unanswered until ``end``."""
        self._reached.value = 0
        self._outage[:] = start, end

    @property
    def reached(self) -> int:
        """How many calls arrived in the outage."""
        return int(self._reached.value)


@contextmanager
def serving() -> Iterator[Remote]:
    """Serve while the block runs, and yield the remote.

    Raises:
        TimeoutError: The server did not start.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    outage, reached = context.Array("d", [0.0, 0.0]), context.Value("i", 0)
    process = context.Process(target=_serve, args=(theirs, outage, reached), daemon=True)
    process.start()
    try:
        if not ours.poll(PATIENCE):
            raise TimeoutError(f"The remote did not start within {PATIENCE:.0f} seconds.")
        yield Remote(f"http://{HOST}:{ours.recv()}/", outage, reached)
    finally:
        process.terminate()
        process.join(PATIENCE)


class _Answering(asyncio.Protocol):
    """Answers one GET of each connection, once its answer is due."""

    def __init__(self, outage: Any, reached: Any) -> None:
        self._outage = outage
        self._reached = reached

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if b"\r\n\r\n" not in data:
            return
        start, end = self._outage
        now, wait = time.monotonic(), SECONDS
        if start <= now < end:
            self._reached.value += 1
            wait += end - now
        asyncio.get_running_loop().call_later(wait, self._answer)

    def _answer(self) -> None:
        self._transport.write(ANSWER)
        self._transport.close()


def _serve(parent: Connection, outage: Any, reached: Any) -> None:
    asyncio.run(_serve_for_ever(parent, outage, reached))


async def _serve_for_ever(parent: Connection, outage: Any, reached: Any) -> None:
    loop = asyncio.get_running_loop()
    answering = partial(_Answering, outage, reached)
    server = await loop.create_server(answering, HOST, 0, backlog=2048)
    parent.send(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()
