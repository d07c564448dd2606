"""Finds the event loop that runs the caller, asyncio's or trio's, and waits in it for threads.

Trio is imported only if the site has imported it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import trio


def current() -> Hashable:
    """Return a key for the running event loop: asyncio's loop, or trio's token.

    Raises:
        RuntimeError: Neither asyncio nor trio runs here.
    """
    if _is_trio():
        import trio

        return trio.lowlevel.current_trio_token()
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "Async calls through a circuit need the event loop of asyncio or trio; none runs here."
        ) from None


def is_running() -> bool:
    """Return whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _is_trio()
    return True


def is_closed(loop: Hashable) -> bool:
    """Return whether a loop that :func:`current` has returned is known to have ended."""
    return isinstance(loop, asyncio.AbstractEventLoop) and loop.is_closed()


async def wait(future: Future[Any]) -> None:
    """Wait until a thread's future is done, however it ends. If cancelled, the work goes on.

    Raises:
        RuntimeError: Neither asyncio nor trio runs here.
    """
    loop = current()
    done = event(loop)
    future.add_done_callback(lambda _: soon(loop, done.set))
    await done.wait()


async def wait_for(event: asyncio.Event | trio.Event, seconds: float) -> None:
    """Wait until an event is set, or ``seconds`` have passed."""
    if isinstance(event, asyncio.Event):
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
        return
    import trio

    with trio.move_on_after(seconds):
        await event.wait()


async def sleep(seconds: float) -> None:
    """Wait for ``seconds`` without blocking the event loop."""
    if _is_trio():
        import trio

        await trio.sleep(seconds)
    else:
        await asyncio.sleep(seconds)


def soon(loop: Any, function: Callable[[], object]) -> bool:
    """Have a loop run a function soon; return whether it still runs. Any thread may call this."""
    try:
        if isinstance(loop, asyncio.AbstractEventLoop):
            loop.call_soon_threadsafe(function)
        else:
            loop.run_sync_soon(function)
    except RuntimeError:  # the loop has ended; asyncio and trio both raise this
        return False
    return True


def event(loop: Hashable) -> asyncio.Event | trio.Event:
    """Return a new event for the tasks of a loop that :func:`current` has returned."""
    if isinstance(loop, asyncio.AbstractEventLoop):
        return asyncio.Event()
    import trio

    return trio.Event()


def _is_trio() -> bool:
    if "trio" not in sys.modules:
        return False
    import sniffio

    try:
        return sniffio.current_async_library() == "trio"
    except sniffio.AsyncLibraryNotFoundError:
        return False
