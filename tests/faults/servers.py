"""Runs real servers that serve the reference project from child processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import requests

from cbproject.ports import any_port
from tests.concurrency import PATIENCE, environment, wait_until

#: The circuit that a preloaded site has called through once.
PRELOADED: Final = "preloaded"

_GUNICORN: Final = ("--bind", "127.0.0.1:PORT", "--workers", "2", "--no-control-socket")
_ONCE: Final = ("gunicorn", "tests.faults.site:wsgi", *_GUNICORN)
_PRELOAD: Final = ("gunicorn", "tests.faults.preloaded:wsgi", "--preload", *_GUNICORN)
_UVICORN: Final = ("uvicorn", "tests.faults.site:asgi", "--port", "PORT")

#: The module of each server and its arguments, in which ``PORT`` stands for the port. gunicorn
#: applies gevent's patches in its workers, so there the site cannot be loaded before the fork.
SERVERS: Final = {
    "gunicorn": _ONCE,
    "gunicorn preload": _PRELOAD,
    "gthread preload": (*_PRELOAD, "--worker-class", "gthread", "--threads", "4"),
    "gevent": (*_ONCE, "--worker-class", "gevent"),
    "uvicorn": _UVICORN,
    "uvicorn workers": (*_UVICORN, "--workers", "2"),
}


class Server:
    """A running server.

    Args:
        process: The main process.
        url: The base URL that it serves.
        log: The file with its output.
    """

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self._log = log

    @property
    def said(self) -> str:
        """The output of the server and its children."""
        return self._log.read_text()

    def stop(self) -> None:
        """Ask the server to end, as a deployment does, and wait until it has ended."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)


@contextmanager
def serving(name: str, remote: str, folder: Path) -> Iterator[Server]:
    """Serve the site with one of :data:`SERVERS` while the block runs.

    Args:
        name: The name of the server.
        remote: The URL of the remote that the site calls.
        folder: A folder for the log.
    """
    port = any_port()
    arguments = [each.replace("PORT", str(port)) for each in SERVERS[name]]
    with running(arguments, folder / "server.log", TEST_REMOTE_URL=remote) as process:
        server = Server(process, f"http://127.0.0.1:{port}", folder / "server.log")
        wait_until(lambda: process.poll() is not None or _answers(server.url))
        assert process.poll() is None, server.said
        yield server


@contextmanager
def running(arguments: list[str], log: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python module in a process of its own, with the settings of the test."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env={**environment(), **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    with suppress(requests.ConnectionError):
        return requests.get(f"{url}/health", timeout=10).ok
    return False
