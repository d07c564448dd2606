"""All processes together, as `make run` starts them: they work together, and stop on Ctrl-C."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from django.conf import settings

from cbproject.ports import HOST, free_port
from tests.cbproject.conftest import DEVELOPMENT, Run, project_environment

PROCESSES = ("web", "worker", "beat")

OPEN_AN_EXPIRED_CIRCUIT = """
from django.utils import timezone
from circuits.models import Circuit
now = timezone.now()
Circuit.objects.create(name="expired", state="open", generation=1, opened_at=now, retry_at=now)
"""


@pytest.fixture
def port() -> int:
    return free_port(5700)


@pytest.fixture
def site(migrated: Run, tmp_path: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the processes with an expired circuit to work on, and write their output to a file."""
    migrated("shell", "--no-imports", "--command", OPEN_AN_EXPIRED_CIRCUIT)
    with (tmp_path / "output").open("wb") as output:
        site = subprocess.Popen(
            [sys.executable, "-m", "honcho", "-e", "/dev/null", "start", "-p", str(port)],
            cwd=settings.BASE_DIR,
            env={**project_environment(tmp_path), **DEVELOPMENT},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        yield site
        site.terminate()
        site.wait(20)


def test_all_processes_work_and_stop_cleanly(
    site: subprocess.Popen[bytes], tmp_path: Path, port: int
) -> None:
    output = tmp_path / "output"
    _wait_for("development server at", output)
    assert requests.get(f"http://{HOST}:{port}/health", timeout=5).ok
    # People follow the address that the server prints.
    (address,) = re.findall(r"server at (http://\S+?/)\s", output.read_text())
    landed = requests.get(address, timeout=5)
    assert landed.ok
    assert landed.url.startswith(f"http://{HOST}:{port}/admin/login/")
    # Beat sent the task through the filesystem broker, and the worker ran it.
    _wait_for("Changed state from open to half_open (expired)", output)

    site.send_signal(signal.SIGINT)

    assert site.wait(20) == 130
    said = output.read_text()
    assert all(f"{name}.1 stopped (rc=0)" in said for name in PROCESSES), said
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://{HOST}:{port}/health", timeout=5)


def _wait_for(text: str, output: Path, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while text not in (said := output.read_text()):
        assert time.monotonic() < deadline, said
        time.sleep(0.1)
