"""RQ, whose jobs run in children that end by ``os._exit``: each job's call is counted once."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from tests import services
from tests.concurrency import PATIENCE

from . import Project
from .calls import Seen, calling, seen
from .databases import once_on_servers
from .processes import running

pytestmark = [pytest.mark.services, once_on_servers]

#: How many jobs of each kind there are.
JOBS = 12

REDIS = services.url("Redis")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    queue = f"circuits-test-{uuid4().hex}"
    project = calling(
        tmp_path,
        f"""
INSTALLED_APPS += ["django_rq"]
RQ_QUEUES = {{{queue!r}: {{"URL": {REDIS!r}, "DEFAULT_RESULT_TTL": 1}}}}
QUEUE = {queue!r}
""",
    )
    project.run(f"""
        import django_rq
        from django.conf import settings

        queue = django_rq.get_queue(settings.QUEUE)
        for _ in range({JOBS}):
            queue.enqueue("shop.work.pay", result_ttl=0)
            queue.enqueue("shop.work.quote", result_ttl=0)
    """)
    project.env["QUEUE"] = queue
    return project


def assert_all_are_counted(project: Project) -> None:
    assert seen(project, "payments") == Seen("closed", JOBS, 0)
    quotes = seen(project, "quotes")
    assert (quotes.state, quotes.calls) == ("open", JOBS)


@pytest.mark.parametrize("kind", ["Worker", "SpawnWorker", "SimpleWorker"])
def test_a_worker_of_django_rq(project: Project, kind: str) -> None:
    worker = ("rqworker", project.env["QUEUE"], "--burst", "--worker-class", f"rq.worker.{kind}")
    project.manage(*worker)
    assert_all_are_counted(project)


def test_a_worker_of_rq_that_has_not_loaded_the_site(project: Project) -> None:
    """Each child loads the site itself, together with the module of the job."""
    arguments = ("worker", "--burst", "--url", REDIS, project.env["QUEUE"])
    with running(project, "rq", *arguments) as worker:
        assert worker.process.wait(PATIENCE) == 0, worker.said
    assert_all_are_counted(project)
