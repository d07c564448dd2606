"""A Celery broker that needs no server: each message is a file in a folder."""

import time
import uuid
from pathlib import Path
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps

URL = "filesystem://localhost"

POLLING_SECONDS = 0.2  # between two looks into the folder
LONGEST_WAIT = 0.5  # seconds


def transport_options(url: str, folder: Path) -> dict[str, Any]:
    """Return Celery's options for the broker at a URL.

    For a broker of files these name its folders, which are made inside `folder`. Other brokers
    need no options.
    """
    if not url.startswith("filesystem:"):
        return {}
    messages, control = folder / "messages", folder / "control"
    for path in (messages, control):
        path.mkdir(parents=True, exist_ok=True)
    # Senders and receivers are on one machine, so they share a folder.
    return {
        "data_folder_in": str(messages),
        "data_folder_out": str(messages),
        "control_folder": str(control),
        "polling_interval": POLLING_SECONDS,
    }


class Channel(filesystem.Channel):
    """Kombu's channel, except that a message appears only when its file is complete.

    Kombu creates the file first and fills it afterwards. A worker that looks in between reads an
    empty message and crashes.
    """

    def _put(  # type: ignore[override]
        self, queue: str, payload: dict[str, Any], **kwargs: Any
    ) -> None:
        name = f"{time.time_ns()}_{uuid.uuid4()}.{queue}.msg"
        unfinished = Path(self.data_folder_out, f"{name}.part")
        unfinished.write_text(dumps(payload), encoding="utf-8")
        unfinished.rename(unfinished.with_name(name))


class Transport(filesystem.Transport):
    """Kombu's transport, with complete messages and short waits."""

    Channel = Channel

    def drain_events(self, connection: Any, timeout: float | None = None, **kwargs: Any) -> None:
        """Wait for a message, `LONGEST_WAIT` seconds at most.

        Between two waits the worker checks whether it should stop.
        """
        super().drain_events(connection, timeout=timeout and min(timeout, LONGEST_WAIT), **kwargs)
