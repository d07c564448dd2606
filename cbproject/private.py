"""Makes folders and files that only their owner may open, whatever the umask is."""

import os
from pathlib import Path


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner may open, and return its path."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    _close(path, 0o700)
    return path


def private_file(path: Path) -> Path:
    """Make a file that only its owner may open, and return its path.

    SQLite gives the files that it keeps beside a database the mode of the database.
    """
    path.touch(mode=0o600, exist_ok=True)
    _close(path, 0o600)
    return path


def _close(path: Path, mode: int) -> None:
    status = path.stat()
    # Only its owner may change the mode; the volume of a container may belong to somebody else.
    if status.st_uid == os.geteuid() and status.st_mode & 0o077:
        path.chmod(mode)
