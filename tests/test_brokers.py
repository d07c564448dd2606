"""The beat task goes through a broker to a real Celery worker, which moves an expired circuit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import time_machine
from django.conf import settings
from django.db import connections
from kombu import Connection, Exchange, Queue

from cbproject import celery_app
from cbproject.broker import transport_options
from circuits.models import Circuit, Transition
from circuits.tasks import half_open_expired
from tests import services
from tests.concurrency import PATIENCE, wait_until
from tests.factories import CircuitFactory

pytestmark = pytest.mark.usefixtures("committed")

FILES = "filesystem://localhost"


@pytest.fixture
def queue() -> str:
    """Return the name of a new queue, since other programs may use the same broker."""
    return f"circuits-test-{uuid4().hex}"


@contextmanager
def broker(url: str, folder: Path, queue: str) -> Iterator[Connection]:
    """Connect to the broker, and delete the queue and its exchange afterwards."""
    celery_app.loader.import_default_modules()
    options = transport_options(url, folder / "broker")
    with Connection(url, transport_options=options) as connection:
        yield connection
        for left in (Queue(queue), Exchange(queue)):
            left(connection.default_channel).delete()


@contextmanager
def worker(url: str, folder: Path, queue: str) -> Iterator[subprocess.Popen[str]]:
    """Run `celery worker` under the reference project's own settings, on the test's databases."""
    flags = ("--pool=solo", "--without-gossip", "--without-mingle", "--without-heartbeat")
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "cbproject", "worker", "-Q", queue, *flags],
        env={
            "PATH": os.environ["PATH"],
            "DJANGO_ENV_FILE": os.devnull,
            "DJANGO_SECRET_KEY": "only-for-tests",
            "DATABASE_URL": database_url("default"),
            "CIRCUITS_DATABASE_URL": database_url("circuits"),
            "CELERY_BROKER_URL": url,
            "VAR_DIR": str(folder),
        },
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def database_url(alias: str) -> str:
    name = connections[alias].settings_dict["NAME"]
    server = {"postgres": "PostgreSQL", "mariadb": "MariaDB"}.get(settings.TEST_DATABASE)
    if server is None:
        return f"sqlite:///{name}"
    return urlsplit(services.url(server))._replace(path=f"/{name}").geturl()


@pytest.mark.parametrize(
    "service",
    [
        "files",
        pytest.param("Redis", marks=pytest.mark.services),
        pytest.param("RabbitMQ", marks=pytest.mark.services),
    ],
)
def test_a_worker_receives_the_task_and_moves_the_circuit(
    service: str, queue: str, tmp_path: Path
) -> None:
    url = FILES if service == "files" else services.url(service)
    CircuitFactory(name="payments", expired=True)
    with broker(url, tmp_path, queue) as connection:
        half_open_expired.apply_async(producer=connection.Producer(), queue=queue, expires=PATIENCE)
        with worker(url, tmp_path, queue):
            wait_until(lambda: Circuit.objects.get().state == "half_open")
    assert Transition.objects.get().reason == "delay_passed"


def test_a_worker_that_starts_late_drops_what_has_expired(queue: str, tmp_path: Path) -> None:
    CircuitFactory(name="payments", expired=True)
    with broker(FILES, tmp_path, queue) as connection:
        with time_machine.travel(datetime.now(UTC) - timedelta(hours=1)):
            half_open_expired.apply_async(producer=connection.Producer(), queue=queue)
        messages = tmp_path / "broker" / "messages"
        assert list(messages.glob(f"*.{queue}.msg"))
        with worker(FILES, tmp_path, queue) as process:
            wait_until(lambda: not list(messages.glob(f"*.{queue}.msg")))
            # It ends once it has finished the tasks that it has taken.
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
    assert Circuit.objects.get().state == "open"
