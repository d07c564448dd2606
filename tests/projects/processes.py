"""Runs a project's server or worker until it is told to stop."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests

from cbproject.ports import any_port
from tests.concurrency import PATIENCE, wait_until

from . import Project


class Process:
    """A running process.

    Args:
        process: The process itself.
        log: The file with its output and that of its children.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        """The output so far."""
        return self._log.read_text()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask the process to end, as a deployment does, and wait until it has ended."""
        self.process.send_signal(number)
        self.process.wait(PATIENCE)


@contextmanager
def running(project: Project, *arguments: str) -> Iterator[Process]:
    """Run a Python module, or a program installed beside Python, in the project."""
    log = project.folder / "process.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            _command(project, *arguments),
            cwd=project.folder,
            env=project.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Process(process, log)
    finally:
        process.kill()
        process.wait()


@contextmanager
def serving(project: Project, *arguments: str) -> Iterator[tuple[Process, str]]:
    """Run a server, whose arguments contain ``PORT`` for its port; yield it and its URL."""
    port = any_port()
    url = f"http://127.0.0.1:{port}"
    with running(project, *(each.replace("PORT", str(port)) for each in arguments)) as server:
        wait_until(lambda: server.process.poll() is not None or _answers(url))
        assert server.process.poll() is None, server.said
        yield server, url


def _command(project: Project, program: str, *arguments: str) -> list[str]:
    beside = Path(project.python).with_name(program)
    return [str(beside), *arguments] if beside.exists() else [project.python, program, *arguments]


def _answers(url: str) -> bool:
    with suppress(requests.ConnectionError):
        return requests.get(url, timeout=10).ok
    return False
