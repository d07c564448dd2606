"""Workers of other queues, whose processes end in their own ways: each task's call counts once.

:mod:`tests.projects.test_rq` tests RQ, and :mod:`tests.faults.test_servers` Celery.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from tests import services
from tests.concurrency import wait_until

from . import Project
from .calls import Seen, calling, seen
from .databases import once_on_servers
from .processes import running

pytestmark = [pytest.mark.services, once_on_servers]

#: How many tasks there are.
TASKS: Final = 12

_DONE: Final = """
from pathlib import Path
from shop import work


def pay():
    work.pay()
    with Path("done").open("a") as file:
        file.write(".")

"""


def run_worker(project: Project, *worker: str, end: int = signal.SIGTERM) -> None:
    """Run a worker until all tasks are done, then stop it as its documentation says."""
    done = project.folder / "done"
    with running(project, *worker) as process:
        wait_until(lambda: done.exists() and len(done.read_text()) == TASKS)
        process.stop(end)


def test_huey_with_processes(tmp_path: Path) -> None:
    project = calling(
        tmp_path,
        """
INSTALLED_APPS += ["huey.contrib.djhuey"]
HUEY = {"huey_class": "huey.SqliteHuey", "filename": str(BASE_DIR / "huey"), "immediate": False}
""",
    )
    tasks = "from huey.contrib.djhuey import db_task\n\nlater = db_task()(pay)\n"
    project.write("shop/tasks.py", _DONE + tasks)
    project.run(f"from shop.tasks import later\nfor _ in range({TASKS}): later()")
    worker = ("manage.py", "run_huey", "--worker-type", "process", "--workers", "2")
    run_worker(project, *worker, end=signal.SIGINT)
    assert seen(project, "payments") == Seen("closed", TASKS, 0)


def test_dramatiq(tmp_path: Path) -> None:
    project = calling(tmp_path)
    tasks = f"""
import dramatiq
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url={services.url("Redis")!r}, namespace="{uuid4().hex}"))
later = dramatiq.actor(pay)
"""
    project.write("shop/tasks.py", _DONE + tasks)
    project.run(f"from shop.tasks import later\nfor _ in range({TASKS}): later.send()")
    run_worker(project, "dramatiq", "shop.tasks", "--processes", "2", "--threads", "2")
    assert seen(project, "payments") == Seen("closed", TASKS, 0)


def test_django_q2(tmp_path: Path) -> None:
    project = calling(
        tmp_path,
        """
INSTALLED_APPS += ["django_q"]
Q_CLUSTER = {"name": "shop", "workers": 2, "orm": "default", "timeout": 60, "retry": 90}
""",
    )
    project.write("shop/tasks.py", _DONE)
    later = "from django_q.tasks import async_task"
    project.run(f"{later}\nfor _ in range({TASKS}): async_task('shop.tasks.pay')")
    run_worker(project, "manage.py", "qcluster")
    assert seen(project, "payments") == Seen("closed", TASKS, 0)
