"""Open-loop load: requests are made on schedule, however the site copes with earlier ones."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final

from .remote import HOST

#: How many requests a second each page gets.
RATES: Final = {"remote": 40, "local": 60}

#: Seconds after which a visitor gives up.
PATIENCE: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request and how it went.

    Args:
        page: The page that was requested, ``remote`` or ``local``.
        due: When the request was due, in seconds on the monotonic clock.
        seconds: Seconds from then until the answer; infinity if there was none.
        status: The status of the answer; 0 without one.
        process: The process of the site that answered; empty without an answer.
        answered_at: When that process answered, on the same clock.
    """

    page: str
    due: float
    seconds: float = float("inf")
    status: int = 0
    process: str = ""
    answered_at: float = 0.0

    @property
    def is_lost(self) -> bool:
        """Whether the request got no answer."""
        return not self.status


def schedule(start: float, seconds: float) -> Iterator[tuple[str, float]]:
    """Yield each request's page and the moment it is due, each page at an even pace.

    Args:
        start: The first moment, on the monotonic clock.
        seconds: How long the load lasts.
    """
    for page, rate in RATES.items():
        for number in range(round(seconds * rate)):
            yield page, start + number / rate


async def load(port: int, start: float, seconds: float) -> list[Request]:
    """Make requests on schedule, and return how each of them went."""
    due = list(schedule(start, seconds))
    return await asyncio.gather(*(_request(port, page, at) for page, at in due))


async def at_once(port: int, number: int) -> list[Request]:
    """Make ``number`` requests for each page at once, and return how each of them went."""
    now = monotonic()
    return await asyncio.gather(
        *(_request(port, page, now) for page in RATES for _ in range(number))
    )


async def _request(port: int, page: str, due: float) -> Request:
    await asyncio.sleep(due - monotonic())
    # A request is lost if the connection breaks, or if no whole answer comes in time.
    with suppress(OSError, TimeoutError, EOFError, ValueError, KeyError):
        async with asyncio.timeout(max(0.0, due + PATIENCE - monotonic())):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(f"GET /{page} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
                status, headers = await _head(reader)
            finally:
                writer.close()
        return Request(
            page=page,
            due=due,
            seconds=monotonic() - due,
            status=status,
            process=headers["x-process"],
            answered_at=float(headers["x-at"]),
        )
    return Request(page=page, due=due)


async def _head(reader: StreamReader) -> tuple[int, dict[str, str]]:
    """Return the status and the headers of an answer; their names are in lower case."""
    text = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = text.strip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}
