"""The site's ASGI entry point: Django's application, extended to handle lifespan events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from django.core import asgi

Application = Callable[..., Awaitable[None]]


def get_asgi_application() -> Application:
    """Return Django's application, extended to write tallies when the server shuts down::

        from circuits.asgi import get_asgi_application

        application = get_asgi_application()

    Django's own application does not handle lifespan events. With it, tallies are written when the
    process exits.
    """
    django: Application = asgi.get_asgi_application()

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        else:
            await django(scope, receive, send)

    return application


async def _live(receive: Any, send: Any) -> None:
    from .process import runtime, threads

    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await threads.in_thread(runtime.pulse.stop)
    await send({"type": "lifespan.shutdown.complete"})
