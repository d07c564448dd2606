"""A site behind servers of many kinds: each visitor's call is counted once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
import requests
from pytest_django.plugin import DjangoDbBlocker

from tests.concurrency import PATIENCE, wait_until

from . import Project
from .calls import Seen, calling, seen
from .databases import Databases, databases, once_on_servers
from .processes import serving

pytestmark = pytest.mark.services

#: How many visitors come.
VISITS: Final = 40

_URLS: Final = """
import os

from django.http import HttpResponse
from django.urls import path

from shop import work


def pay(request):
    work.pay()
    return HttpResponse(os.getpid())


def health(request):
    return HttpResponse("ok")


urlpatterns = [path("", health), path("pay/", pay)]
"""

#: A site that makes a call while it is loaded. A server that forks afterwards has a connection and
#: threads that its children must not use.
_PRELOADED: Final = """
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from shop import work

work.pay("loaded")
work.pay()
"""

#: The entry point from the documentation of channels, with Django's own inside.
_CHANNELS: Final = """
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

application = ProtocolTypeRouter({"http": get_asgi_application()})
"""

_PRELOAD: Final = ("gunicorn", "mysite.wsgi", "--bind", "127.0.0.1:PORT", "--preload", "-w", "2")
_UWSGI: Final = (
    *("uwsgi", "--http-socket", "127.0.0.1:PORT", "--module", "mysite.wsgi", "--master"),
    *("--processes", "2", "--master-fifo", "commands"),
)


def visit(url: str) -> set[str]:
    """Make the requests of all visitors; return the processes that answered."""

    def one(_: int) -> str:
        response = requests.get(f"{url}/pay/", timeout=PATIENCE)
        assert response.status_code == 200, response.text
        return response.text

    with ThreadPoolExecutor(8) as pool:
        return set(pool.map(one, range(VISITS)))


def served(project: Project, *arguments: str) -> None:
    """Serve all visitors, and stop the server as a deployment does."""
    with serving(project, *arguments) as (server, url):
        visit(url)
        server.stop()
        assert "does not answer" not in server.said, server.said
        assert "could not leave" not in server.said, server.said


# Servers that fork after they have loaded the site


def preloaded(folder: Path, databases: Databases, settings: str = "") -> Project:
    project = calling(folder, settings, urls=_URLS, databases=databases)
    project.write("mysite/wsgi.py", _PRELOADED)
    return project


@pytest.mark.parametrize(
    "options", [(), ("--enable-threads", "--threads", "3")], ids=["plain", "threads"]
)
def test_uwsgi(tmp_path: Path, project_databases: Databases, options: tuple[str, ...]) -> None:
    """uWSGI forks without telling Python."""
    project = preloaded(tmp_path, project_databases, "CIRCUITS['FLUSH_SECONDS'] = 0.5")
    with serving(project, *_UWSGI, *options) as (server, url):
        visit(url)
        wait_until(lambda: seen(project, "payments").successes >= 1 + VISITS)
        visit(url)
        # A signal would end a busy worker in the middle of a request.
        (tmp_path / "commands").write_text("q")
        server.process.wait(PATIENCE)
        assert "could not leave" not in server.said, server.said
    assert seen(project, "payments") == Seen("closed", 1 + 2 * VISITS, 0)
    assert seen(project, "loaded") == Seen("closed", 1, 0)


@pytest.fixture
def postgres(django_db_blocker: DjangoDbBlocker) -> Iterator[Databases]:
    with django_db_blocker.unblock(), databases("postgres") as made:
        yield made


@pytest.fixture
def mariadb(django_db_blocker: DjangoDbBlocker) -> Iterator[Databases]:
    with django_db_blocker.unblock(), databases("mariadb") as made:
        yield made


@once_on_servers
@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_a_pool_of_psycopg_is_the_parents(tmp_path: Path, postgres: Databases, kind: str) -> None:
    pool = 'DATABASES["circuits"]["OPTIONS"] = {"pool": {"min_size": 1, "timeout": 5}}'
    project = preloaded(tmp_path, postgres, pool)
    met: list[set[str]] = []

    def has_met_both(url: str) -> bool:
        """Visit again, as one worker may be up before the other; return whether both answered."""
        met.append(visit(url))
        return len(set().union(*met)) == 2

    with serving(project, *_PRELOAD, "--worker-class", kind) as (server, url):
        wait_until(lambda: has_met_both(url))
        server.stop()
        assert "does not answer" not in server.said, server.said
    assert seen(project, "payments") == Seen("closed", 1 + len(met) * VISITS, 0)


@once_on_servers
def test_no_idle_thread_keeps_the_only_connection_of_a_pool(
    tmp_path: Path, postgres: Databases
) -> None:
    """This holds for threads of async callers and of sync ones, and for the one that writes."""
    pool = 'DATABASES["circuits"]["OPTIONS"] = {"pool": {"min_size": 1, "timeout": 5}}'
    settings = "CIRCUITS |= {'FLUSH_SECONDS': 0.1, 'SNAPSHOT_SECONDS': 0.1}"
    project = calling(tmp_path, f"{pool}\n{settings}", databases=postgres)
    done = project.run("""
        import asyncio
        import circuits
        from shop import work

        async def pay(name):
            async with circuits.guard(name):
                pass

        for number in range(3):
            asyncio.run(pay("tasks"))
            work.pay("threads")
            asyncio.run(pay(f"task {number}"))
            work.pay(f"thread {number}")
        circuits.get("threads").force_open()
    """)
    assert "does not answer" not in done.stderr, done.stderr
    assert (seen(project, "tasks").successes, seen(project, "threads").successes) == (3, 3)


@once_on_servers
def test_pymysql_has_no_descriptor_to_cut_off(tmp_path: Path, mariadb: Databases) -> None:
    driver = "import pymysql\npymysql.install_as_MySQLdb()\nCIRCUITS['FLUSH_SECONDS'] = 0.2"
    project = preloaded(tmp_path, mariadb, driver)
    with serving(project, *_PRELOAD) as (server, url):
        visit(url)
        wait_until(lambda: seen(project, "payments").successes == 1 + VISITS)
        assert "could not leave" not in server.said, server.said


# Servers of ASGI


@once_on_servers
@pytest.mark.parametrize(
    "server",
    [
        ("uvicorn", "mysite.asgi:application", "--port", "PORT"),
        ("uvicorn", "mysite.asgi:application", "--port", "PORT", "--workers", "2"),
        ("hypercorn", "mysite.asgi:application", "--bind", "127.0.0.1:PORT"),
        ("daphne", "mysite.asgi:application", "--port", "PORT"),
        ("granian", "mysite.asgi:application", "--port", "PORT", "--interface", "asginl"),
    ],
    ids=["uvicorn", "uvicorn workers", "hypercorn", "daphne", "granian"],
)
def test_channels(tmp_path: Path, server: tuple[str, ...]) -> None:
    """Channels routes no lifespan events, and none are needed."""
    project = calling(tmp_path, urls=_URLS)
    project.write("mysite/asgi.py", _CHANNELS)
    served(project, *server)
    assert seen(project, "payments") == Seen("closed", VISITS, 0)
