"""A real PgBouncer in front of the tests' PostgreSQL, in transaction mode."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit

import pytest

from cbproject.ports import any_port
from tests import services
from tests.concurrency import PATIENCE, wait_until

_SETTINGS: Final = """
[databases]
* = host={host} port={server_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = 1
max_client_conn = 50
server_idle_timeout = 1
{user}
"""


@contextmanager
def pgbouncer(*users: str) -> Iterator[int]:
    """Run PgBouncer, and yield its port; each user gets one connection to the server.

    If it is not installed, the test is skipped, unless ``REQUIRE_PGBOUNCER`` is 1.

    Args:
        users: The users that may connect, in addition to that of the tests.
    """
    if shutil.which("pgbouncer") is None and os.environ.get("REQUIRE_PGBOUNCER") != "1":
        pytest.skip("PgBouncer is not installed.")
    port = any_port()
    # Not in a folder of pytest, which only root may read: PgBouncer does not run as root.
    with TemporaryDirectory(prefix="pgbouncer-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        process = subprocess.Popen(["pgbouncer", "--quiet", _settings(folder, port, users)])
        try:
            wait_until(lambda: _listens(port) or process.poll() is not None)
            assert process.poll() is None
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def _settings(folder: Path, port: int, users: Iterable[str]) -> Path:
    address = urlsplit(services.url("PostgreSQL"))
    known = [(address.username, address.password or ""), *((user, "") for user in users)]
    lines = "".join(f'"{name}" "{password}"\n' for name, password in known)
    (folder / "users.txt").write_text(lines)
    path = folder / "pgbouncer.ini"
    path.write_text(
        _SETTINGS.format(
            folder=folder,
            host=address.hostname,
            server_port=address.port,
            port=port,
            user="user = nobody" if os.geteuid() == 0 else "",
        )
    )
    return path


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
