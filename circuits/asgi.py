"""The site's ASGI entry point: Django's, which also writes down what is left at a stop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from django.core import asgi

Application = Callable[..., Awaitable[None]]


def get_asgi_application() -> Application:
    """Return Django's application with an end to its life.

    Servers such as uvicorn end their process by a signal, so nothing runs at its exit; what the
    process has gathered is written down when the server says that it shuts down.
    """
    django: Application = asgi.get_asgi_application()

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        else:
            await django(scope, receive, send)

    return application


async def _live(receive: Any, send: Any) -> None:
    from . import breaker, threads

    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await threads.in_thread(breaker.flusher.stop)
    await send({"type": "lifespan.shutdown.complete"})
