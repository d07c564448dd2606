"""The ASGI entry point flushes the tallies when the server announces its shutdown."""

from __future__ import annotations

from asyncio import Queue, ensure_future
from typing import Any

import httpx
import pytest

from circuits.asgi import get_asgi_application
from circuits.models import Circuit
from circuits.process import runtime
from circuits.process.pulse import Pulse
from tests.calls import succeed
from tests.concurrency import in_threads

pytestmark = pytest.mark.usefixtures("committed")


def written(index: int) -> int:
    return Circuit.objects.get(name="payments").total_successes


async def test_what_was_gathered_is_written_before_the_server_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # This pulse may end, unlike that of the test process.
    pulse = Pulse(lambda: False, runtime.flush)
    pulse.ensure_running()
    monkeypatch.setattr(runtime, "pulse", pulse)
    told: Queue[Any] = Queue()
    answered: Queue[Any] = Queue()
    life = ensure_future(get_asgi_application()({"type": "lifespan"}, told.get, answered.put))
    await told.put({"type": "lifespan.startup"})
    assert await answered.get() == {"type": "lifespan.startup.complete"}
    in_threads(1, lambda index: succeed("payments", 3))
    assert in_threads(1, written) == [0]
    await told.put({"type": "lifespan.shutdown"})
    assert await answered.get() == {"type": "lifespan.shutdown.complete"}
    await life
    assert in_threads(1, written) == [3]


async def test_everything_else_is_djangos() -> None:
    site: Any = get_asgi_application()
    transport = httpx.ASGITransport(app=site)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get("/health")).status_code == 200
