"""A site's test run touches no real circuit, and no test touches the circuits of another.

The host's own tests (:mod:`tests.projects.host`) check the second; here each runner runs them on
each database, and the contents of the real database are compared. To make that hard, the host reads
a circuit when it is loaded, before any runner has made a database for tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django.plugin import DjangoDbBlocker

from . import Done, Project, host
from .databases import KINDS, databases

SETTINGS = """
import os
ROOT_URLCONF = "shop.urls"
CIRCUITS["FLUSH_SECONDS"] = 0.1
CIRCUITS["CIRCUITS"] = {
    "payments": {"threshold": 3},
    "rates": {"strategy": "rate", "minimum_calls": 3},
}
CIRCUITS["TEST_IN_MEMORY"] = os.environ.get("TEST_IN_MEMORY") == "yes"
"""

REAL = """
import json
from circuits.models import Circuit, Minute, Transition
models = (Circuit, Minute, Transition)
print(json.dumps([list(each.objects.order_by("pk").values()) for each in models], default=str))
"""

USERS = '[{"model": "auth.user", "pk": 1, "fields": {"username": "ann", "password": "!"}}]'

HOST = {
    **{path.name: path.read_text() for path in Path(host.__file__).parent.glob("*.py")},
    "fixtures/users.json": USERS,
}

#: How many tests there are in each of the host's modules.
DJANGO, SERIALIZED, PYTEST, MEMORY = 40, 10, 32, 43


@pytest.fixture(scope="module", params=KINDS)
def site(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("site")
    with django_db_blocker.unblock(), databases(request.param) as made:
        project = Project.make(folder, settings=SETTINGS, apps={"shop": HOST}, databases=made)
        project.write(
            "pytest.ini",
            "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n",
        )
        yield project.migrated()


@pytest.fixture(scope="module", autouse=True)
def _the_real_circuits_stay_as_they_are(site: Project) -> Iterator[None]:
    before = real(site)
    yield
    assert real(site) == before


def real(project: Project) -> Any:
    found = json.loads(project.run(REAL).stdout)
    assert {row["name"] for row in found[0]} == {"payments", "rates"}, found
    return found


def ran(done: Done, *, tests: int) -> None:
    said = done.stdout + done.stderr
    assert "does not answer" not in said
    assert "Could not write down" not in said
    assert f"Ran {tests} tests" in said or f"{tests} passed" in said, said


def test_djangos_runner(site: Project) -> None:
    ran(site.manage("test", "--noinput", "shop.django_style"), tests=DJANGO)


def test_djangos_runner_with_databases_that_are_kept(site: Project) -> None:
    for _ in range(2):  # each process has databases of its own
        options = ("--noinput", "--keepdb", "--parallel", "2")
        ran(site.manage("test", *options, "shop.django_style"), tests=DJANGO)


def test_djangos_runner_where_it_puts_back_what_was_there(site: Project) -> None:
    ran(site.manage("test", "--noinput", "shop.django_serialized"), tests=SERIALIZED)


def test_pytest(site: Project) -> None:
    files = ("shop/django_style.py", "shop/pytest_style.py")
    ran(site.pytest("--create-db", "-n0", *files), tests=DJANGO + PYTEST)


def test_pytest_with_databases_that_are_used_again(site: Project) -> None:
    files = ("shop/django_style.py", "shop/pytest_style.py")
    for _ in range(2):  # each worker has databases of its own
        ran(site.pytest("--reuse-db", "-n2", *files), tests=DJANGO + PYTEST)


def once(test: Any) -> Any:
    """Run a test that says the same on each kind of database on one of them."""
    on_servers = pytest.mark.skipif(KINDS[0] != "sqlite file", reason="once is enough, on SQLite")
    return on_servers(pytest.mark.parametrize("site", [KINDS[-1]], indirect=True)(test))


@once
def test_djangos_runner_in_another_order(site: Project) -> None:
    ran(site.manage("test", "--noinput", "--reverse", "shop.django_style"), tests=DJANGO)


# In memory, by one line

MODULE = "shop.in_memory"


@once
@pytest.mark.parametrize("options", [[], ["--parallel", "2"], ["--reverse"]], ids=" ".join)
def test_a_setting_keeps_them_in_memory(site: Project, options: list[str]) -> None:
    in_memory = site.with_env(TEST_IN_MEMORY="yes")
    ran(in_memory.manage("test", "--noinput", *options, MODULE), tests=MEMORY)


@once
@pytest.mark.parametrize("options", [[], ["--parallel", "2"]], ids=" ".join)
def test_a_runner_keeps_them_in_memory(site: Project, options: list[str]) -> None:
    runner = "--testrunner=circuits.testing.MemoryRunner"
    ran(site.manage("test", "--noinput", runner, *options, MODULE), tests=MEMORY)


@once
def test_the_setting_is_for_pytest_too(site: Project) -> None:
    in_memory = site.with_env(TEST_IN_MEMORY="yes")
    ran(in_memory.pytest("--create-db", "shop/in_memory.py"), tests=MEMORY)


@once
def test_a_fixture_keeps_them_in_memory(site: Project) -> None:
    fixture = ("-o", "usefixtures=circuits_in_memory")
    ran(site.pytest("--create-db", *fixture, "shop/in_memory.py"), tests=MEMORY)


@once
def test_they_are_in_memory_where_no_database_is_made_for_them(site: Project) -> None:
    # Django guards the databases only in its own classes.
    classes = [f"{MODULE}.{each}" for each in ("InAStateForTheWholeClass", "Plain")]
    ran(site.manage("test", "--noinput", *classes), tests=9)


@once
def test_without_that_line_django_names_the_database_that_a_test_may_not_ask(
    site: Project,
) -> None:
    test = "shop.in_memory.RolledBack.test_views"
    done = site.manage("test", "--noinput", test, check=False)
    assert done.returncode == 1
    assert "DatabaseOperationForbidden" in done.stderr
