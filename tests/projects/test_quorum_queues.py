"""Tasks that wait for an open circuit, on a quorum queue of RabbitMQ, and the tasks behind them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from kombu import Connection, Exchange, Queue

from tests import services
from tests.concurrency import wait_until

from . import Project
from .databases import once_on_servers

pytestmark = [pytest.mark.services, once_on_servers]

CELERY = """
    from celery import Celery
    from kombu import Exchange, Queue

    NAME, KIND = {name!r}, {kind!r}
    app = Celery("mysite", broker={broker!r})
    queues = [
        Queue(
            name,
            Exchange(name, type=KIND),
            routing_key=name,
            queue_arguments={{"x-queue-type": "quorum"}},
        )
        for name in (NAME, f"{{NAME}}-waiting")
    ]
    app.conf.update(
        task_queues=queues,
        task_default_queue=NAME,
        task_default_exchange=NAME,
        task_default_exchange_type=KIND,
        task_default_routing_key=NAME,
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
    )
    app.autodiscover_tasks(["shop"])
"""
TASKS = """
    import circuits
    from celery import shared_task
    from celery.signals import task_retry
    from django.conf import settings

    def note(word):
        with open(settings.BASE_DIR / "events", "a") as file:
            print(word, file=file)

    @circuits.circuit_task("payments", waits_in={waits_in!r})
    def charge():
        note("charged")

    @shared_task
    def quick():
        note("quick")

    @task_retry.connect
    def waiting(**kwargs):
        note("waits")
"""


@contextmanager
def worker(project: Project, queue: str, *flags: str) -> Iterator[None]:
    """Run a worker that does one task at a time, until the block ends."""
    quiet = ("--pool=solo", "--without-gossip", "--without-mingle", "--without-heartbeat")
    command = [project.python, "-m", "celery", "-A", "mysite.celery", "worker", "-Q", queue]
    command += ["-n", f"{queue}@localhost"]
    with (project.folder / f"{queue}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *quiet, *flags],
            cwd=project.folder,
            env=project.environment(),
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def name() -> Iterator[str]:
    """Yield a new name for queues, and delete the queues afterwards."""
    made = f"circuits-test-{uuid4().hex[:12]}"
    yield made
    with Connection(services.url("RabbitMQ")) as connection:
        for left in (made, f"{made}-waiting"):
            Queue(left)(connection.default_channel).delete()
            Exchange(left)(connection.default_channel).delete()


@pytest.mark.parametrize(
    ("kind", "has_own_queue", "blocks"),
    [("direct", False, True), ("direct", True, False), ("topic", False, False)],
    ids=["direct exchange", "direct exchange, a queue to wait in", "topic exchange"],
)
def test_whom_a_waiting_task_keeps_waiting(
    tmp_path: Path, name: str, kind: str, has_own_queue: bool, blocks: bool
) -> None:
    """With a direct exchange, Celery's default, a waiting task occupies a place of its worker."""
    waits_in = f"{name}-waiting" if has_own_queue else ""
    project = Project.make(
        tmp_path,
        settings="CIRCUITS['CIRCUITS'] = {'payments': {'delay': 12}}",
        apps={"shop": {"tasks.py": TASKS.format(waits_in=waits_in)}},
    ).migrated()
    broker = services.url("RabbitMQ")
    project.write("mysite/celery.py", CELERY.format(name=name, kind=kind, broker=broker))
    project.manage("circuits", "force-open", "payments")

    def send(task: str, times: int) -> None:
        project.run(f"""
            from mysite.celery import app

            for _ in range({times}):
                app.send_task("shop.tasks.{task}")
        """)

    def events() -> list[str]:
        file = project.folder / "events"
        return file.read_text().split() if file.exists() else []

    places = ("--prefetch-multiplier=1",)
    with (
        worker(project, name, *places),
        worker(project, f"{name}-waiting", "--prefetch-multiplier=0"),
    ):
        send("charge", 2)
        wait_until(lambda: events().count("waits") == 2)
        send("quick", 1)
        wait_until(lambda: "quick" in events())
        # Whether it ran before any of the waiting tasks was tried again.
        assert (events().index("quick") > 2) is blocks
        project.manage("circuits", "automatic", "payments")
        project.manage("circuits", "reset", "payments")
        wait_until(lambda: events().count("charged") == 2)
