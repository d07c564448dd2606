"""The broker that needs no server: messages are files in a folder."""

import time
import uuid
from pathlib import Path
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps


def transport_options(url: str, folder: Path) -> dict[str, str]:
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
