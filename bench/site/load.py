"""Open-loop load: requests come on schedule, however the site copes with those before."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final

from .remote import HOST

#: Requests a second of each page.
RATES: Final = {"remote": 40, "local": 60}

#: Seconds after which a visitor is gone.
PATIENCE: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request and how it went.

    Args:
        page: What was asked for.
        due: When it was to be made, in seconds on the monotonic clock.
        seconds: From then until it was answered; infinity if it never was.
        status: The status of the answer; 0 without one.
        process: Which process of the site answered.
        answered_at: When that process did, on the same clock.
    """

    page: str
    due: float
    seconds: float = float("inf")
    status: int = 0
    process: str = ""
    answered_at: float = 0.0

    @property
    def is_lost(self) -> bool:
        """Whether it was not answered."""
        return not self.status


def schedule(start: float, seconds: float) -> Iterator[tuple[str, float]]:
    """Yield the pages to ask for and when, at even paces."""
    for page, rate in RATES.items():
        for number in range(round(seconds * rate)):
            yield page, start + number / rate


async def load(port: int, start: float, seconds: float) -> list[Request]:
    """Ask for pages on schedule; return how each request went."""
    due = list(schedule(start, seconds))
    return await asyncio.gather(*(_request(port, page, at) for page, at in due))


async def at_once(port: int, number: int) -> list[Request]:
    """Make that many requests of each page at once."""
    now = monotonic()
    return await asyncio.gather(
        *(_request(port, page, now) for page in RATES for _ in range(number))
    )


async def _request(port: int, page: str, due: float) -> Request:
    await asyncio.sleep(due - monotonic())
    # Whoever breaks the connection, or gives no whole answer in time, has lost the request.
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
    """Return the status and the headers of an answer."""
    text = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = text.strip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}
