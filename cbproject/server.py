"""Runs this site as a child process, so that it can be called over real HTTP."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from django.conf import settings

from cbproject.ports import HOST

START_SECONDS = 30
STOP_SECONDS = 10

# Whatever the developer's own settings are, this server speaks plain HTTP, is reachable on this
# machine only, and serves the mock remote.
ENVIRONMENT = {
    "DJANGO_DEBUG": "true",
    "DJANGO_ALLOWED_HOSTS": HOST,
    "DJANGO_SECURE_SSL_REDIRECT": "false",
    "MOCKAPI_ENABLED": "true",
}


class ServerNotStartedError(Exception):
    """The server ended, or did not answer in time; the message says where its output is."""


@contextmanager
def serving(port: int, log: Path) -> Iterator[str]:
    """Serve on a port while the block runs, and yield the base URL.

    Args:
        port: A port of this machine that is free.
        log: The file to which the server's output goes; it is overwritten.

    Raises:
        ServerNotStartedError: The server did not answer within `START_SECONDS`.
    """
    base_url = f"http://{HOST}:{port}"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = _start(port, output.fileno())
        try:
            _wait_until_healthy(process, base_url, log)
            yield base_url
        finally:
            _stop(process)


def _start(port: int, output: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - every part of this command is our own
        [sys.executable, "manage.py", "runserver", f"{HOST}:{port}", "--noreload"],
        cwd=settings.BASE_DIR,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def _wait_until_healthy(process: subprocess.Popen[bytes], base_url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if _is_healthy(base_url):
            return
        time.sleep(0.1)
    raise ServerNotStartedError(f"The server did not start on {base_url}; its output is in {log}.")


def _is_healthy(base_url: str) -> bool:
    try:
        return requests.get(f"{base_url}/health", timeout=2).ok
    except requests.RequestException:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
