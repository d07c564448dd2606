"""The httpx clients that ``circuits.acall`` uses: one for each event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Hashable
from http.cookiejar import CookieJar
from typing import Final

import httpx

from ..process import loops
from .sessions import no_cookies
from .transports import watch_upload

#: Each event loop's client, and the generator that closes it at the loop's end.
_clients: Final[
    dict[Hashable, tuple[httpx.AsyncClient, AsyncGenerator[httpx.AsyncClient, None]]]
] = {}


async def of_loop() -> httpx.AsyncClient:
    """Return this event loop's client, since its connections belong to the loop."""
    loop = loops.current()
    if loop not in _clients:
        for closed in [each for each in list(_clients) if loops.is_closed(each)]:
            _clients.pop(closed, None)  # it was closed without an end to its generators
        generator = _open_client(loop)
        _clients[loop] = await anext(generator), generator
    return _clients[loop][0]


async def _open_client(loop: Hashable) -> AsyncGenerator[httpx.AsyncClient, None]:
    """Yield a client and close it at the loop's end, where asyncio and trio end all generators."""
    client = httpx.AsyncClient(
        cookies=CookieJar(no_cookies()),
        follow_redirects=True,
        event_hooks={"request": [_watch]},
        # No limit on connections, so that the calls of one circuit do not wait for another's.
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
    )
    try:
        yield client
    finally:
        _clients.pop(loop, None)
        await client.aclose()


async def _watch(request: httpx.Request) -> None:
    watch_upload(request)
