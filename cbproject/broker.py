"""The broker that needs no server: messages are files in a folder."""

import time
import uuid
from pathlib import Path
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps

URL = "filesystem://localhost"

LOOK_EVERY = 0.2  # seconds between two looks into the folder
LONGEST_WAIT = 0.5


def transport_options(url: str, folder: Path) -> dict[str, Any]:
    """What Celery needs to know of the broker at `url`: for files, the folders, which it makes."""
    if not url.startswith("filesystem:"):
        return {}
    messages, control = folder / "messages", folder / "control"
    for path in (messages, control):
        path.mkdir(parents=True, exist_ok=True)
    # On one machine what is sent and what is received lie in the same folder.
    return {
        "data_folder_in": str(messages),
        "data_folder_out": str(messages),
        "control_folder": str(control),
        "polling_interval": LOOK_EVERY,
    }


class Channel(filesystem.Channel):
    """Kombu's channel, with messages that appear whole.

    Kombu makes the file first and fills it after; a worker that looks in between reads an empty
    message, and dies of it.
    """

    def _put(  # type: ignore[override]
        self, queue: str, payload: dict[str, Any], **kwargs: Any
    ) -> None:
        name = f"{time.time_ns()}_{uuid.uuid4()}.{queue}.msg"
        unfinished = Path(self.data_folder_out, f"{name}.part")
        unfinished.write_text(dumps(payload), encoding="utf-8")
        unfinished.rename(unfinished.with_name(name))


class Transport(filesystem.Transport):
    Channel = Channel

    def drain_events(self, connection: Any, timeout: float | None = None, **kwargs: Any) -> None:
        """Waits for a message, but briefly: a worker looks between two waits if it is to stop."""
        super().drain_events(connection, timeout=timeout and min(timeout, LONGEST_WAIT), **kwargs)
