"""One database under two addresses: both aliases see the same tables, in any order of migrating."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from typing import Final

import pytest

from . import Project
from .databases import KINDS, Databases

#: Where the test databases are makes no difference here.
pytestmark = pytest.mark.parametrize("project_databases", KINDS[:1], indirect=True)

ENGINES: Final = {
    "sqlite file": "sqlite3",
    "postgres": "postgresql",
    "mariadb": "mysql",
}

#: The settings of the circuits' alias that differ from the site's, for a file and for a server.
ANOTHER_NAME: Final = """
DATABASES["circuits"]["ENGINE"] = DATABASES["default"]["ENGINE"]
if DATABASES["default"].get("HOST"):
    DATABASES["circuits"]["HOST"] = "localhost"
else:
    DATABASES["circuits"]["NAME"] = BASE_DIR / "linked.sqlite3"
"""
ANOTHER_ENGINE: Final = """
DATABASES["circuits"]["ENGINE"] = "wrapped"
if not DATABASES["default"].get("HOST"):
    DATABASES["circuits"]["NAME"] = str(DATABASES["default"]["NAME"])
"""

ORDERS: Final = list(permutations(["default", "circuits"]))

TABLES: Final = """
from django.db import connections
for alias in connections:
    names = connections[alias].introspection.table_names()
    print(*(name for name in names if name in ("auth_user", "circuits_circuit")))
"""


def made(tmp_path: Path, databases: Databases, settings: str) -> Project:
    engine = ENGINES[databases.kind]
    wrapper = f"from django.db.backends.{engine}.base import DatabaseWrapper"
    (tmp_path / "linked.sqlite3").symlink_to(tmp_path / "db.sqlite3")
    apps: Mapping[str, Mapping[str, str]] = {"wrapped": {"base.py": wrapper}}
    return Project.make(tmp_path, settings=settings, apps=apps, databases=databases)


def warnings(project: Project) -> str:
    options = [each for alias in ("default", "circuits") for each in ("--database", alias)]
    done = project.manage("check", *options)
    return done.stdout + done.stderr


@pytest.mark.parametrize("order", ORDERS, ids=" then ".join)
@pytest.mark.parametrize(
    "settings", [ANOTHER_NAME, ANOTHER_ENGINE], ids=["another name", "another engine"]
)
def test_all_tables_are_made_whichever_alias_is_migrated_first(
    tmp_path: Path, project_databases: Databases, settings: str, order: tuple[str, ...]
) -> None:
    project = made(tmp_path, project_databases, settings)
    first, second = (project.manage("migrate", "--database", alias) for alias in order)
    assert "circuits.0001_initial... OK" in first.stdout
    assert "auth.0001_initial... OK" in first.stdout
    assert "No migrations to apply" in second.stdout
    assert project.run(TABLES).stdout.splitlines() == ["auth_user circuits_circuit"] * 2
    assert "no issues" in warnings(project)


def test_a_database_that_was_taken_for_another_is_told_of_and_mended(
    tmp_path: Path, project_databases: Databases
) -> None:
    """A router that trusted the settings alone left migrations recorded, but made no tables."""
    project = made(tmp_path, project_databases, ANOTHER_NAME)
    with_record = project.manage("migrate", "--fake", "circuits").stdout
    assert "circuits.0001_initial... FAKED" in with_record
    project.manage("migrate", "--fake", "sessions")
    said = warnings(project)
    assert "circuits.W007" in said
    assert "a record of the migrations of sessions, circuits, but not their tables" in said
    hint = said.partition("HINT: Run ")[2].partition(".\n")[0]
    for command in hint.split(", then "):
        assert command.startswith("manage.py ")
        project.manage(*command.split()[1:])
    assert project.run(TABLES).stdout.splitlines() == ["auth_user circuits_circuit"] * 2
    assert "no issues" in warnings(project)
