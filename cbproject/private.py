"""Folders and files that only their owner may open, whatever the umask."""

import os
from pathlib import Path


def private_folder(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    _close(path, 0o700)
    return path


def private_file(path: Path) -> Path:
    """What SQLite keeps beside a database gets the mode of the database."""
    path.touch(mode=0o600, exist_ok=True)
    _close(path, 0o600)
    return path


def _close(path: Path, mode: int) -> None:
    status = path.stat()
    # What belongs to somebody else, such as the volume of a container, is theirs to close.
    if status.st_uid == os.geteuid() and status.st_mode & 0o077:
        path.chmod(mode)
