"""The circuits behind PgBouncer, set up as the docs say and otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Final

import pytest
from django.db import connections

from . import Project
from .databases import KINDS, Databases
from .pgbouncer import pgbouncer

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(KINDS != ("postgres",), reason="PgBouncer is for PostgreSQL"),
]

ROLE: Final = f"project_circuits_{os.getpid()}"

BEHIND: Final = """
from circuits.postgresql import cursor_within

DATABASES["circuits"].update(
    HOST="127.0.0.1",
    PORT="{port}",
    USER="{user}",
    OPTIONS={{
        "connect_timeout": 3,
        "server_side_binding": True,
        "prepare_threshold": None,
        "cursor_factory": cursor_within(7),
    }},
)
"""
WITH_OPTIONS: Final = """
DATABASES["circuits"]["OPTIONS"]["options"] = "-c statement_timeout=5000"
"""
#: The site goes through PgBouncer, and the circuits go straight to the server.
SITE_BEHIND: Final = """
DATABASES["default"].update(HOST="127.0.0.1", PORT="{port}", DISABLE_SERVER_SIDE_CURSORS=True)
"""
#: A session with another time zone, which writes the same moments differently.
ANOTHER_TIME_ZONE: Final = """
DATABASES["circuits"]["TIME_ZONE"] = "Asia/Tokyo"
"""
TABLES: Final = """
from django.db import connections
for alias in connections:
    names = connections[alias].introspection.table_names()
    print(*(name for name in names if name in ("auth_user", "circuits_circuit")))
"""
CALL: Final = """
    import circuits
    with circuits.guard("payments"):
        pass
"""


@pytest.fixture
def role(django_db_setup: None, committed: None) -> Iterator[str]:
    """Make the role of the circuits' alias as the docs say, and yield its name."""
    with connections["default"].cursor() as cursor:
        cursor.execute(f"CREATE ROLE {ROLE} LOGIN IN ROLE {cursor.db.settings_dict['USER']}")
        cursor.execute(f"ALTER ROLE {ROLE} SET statement_timeout = '5s'")
        cursor.execute(f"ALTER ROLE {ROLE} SET synchronous_commit = off")
        yield ROLE
        cursor.execute(f"DROP ROLE {ROLE}")


@pytest.fixture
def behind(role: str) -> Iterator[str]:
    """Yield the settings of a circuits' alias behind PgBouncer."""
    with pgbouncer(role) as port:
        yield BEHIND.format(port=port, user=role)


def test_start_up_options_are_refused_and_the_log_and_the_check_say_what_to_do(
    tmp_path: Path, project_databases: Databases, behind: str
) -> None:
    project = Project.make(tmp_path, settings=behind + WITH_OPTIONS, databases=project_databases)
    remedy = "leave OPTIONS['options'] of the circuits' alias out"
    said = project.run(CALL).stderr
    assert "unsupported startup parameter" in said
    assert remedy in said
    checked = project.manage("check", "--database", "circuits").stderr
    assert "circuits.W005" in checked
    assert remedy in checked


def test_the_circuits_work_in_transaction_mode_with_the_timeouts_of_their_role(
    tmp_path: Path, project_databases: Databases, behind: str
) -> None:
    project = Project.make(tmp_path, settings=behind, databases=project_databases).migrated()
    opened = project.run("""
        import circuits
        from django.db import connections

        for _ in range(20):
            with circuits.guard("rates"):
                pass
            circuits.flush()
        for _ in range(5):
            try:
                with circuits.guard("payments"):
                    raise ConnectionError
            except ConnectionError:
                pass
        with connections["circuits"].cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            print(circuits.get("payments").state, *cursor.fetchone())
    """)
    assert opened.stdout.split() == ["open", "5s"]
    assert opened.stderr.startswith("Changed state from closed to open (payments): failures: ")
    assert opened.stderr.count("\n") == 1
    refused = project.run(CALL, check=False)
    assert "CircuitOpenError: Retry after" in refused.stderr
    timeout = "SHOW statement_timeout"
    of_site = f"""
        from django.db import connection
        with connection.cursor() as cursor:
            cursor.execute("{timeout}")
            print(*cursor.fetchone())
    """
    assert project.run(of_site).stdout.split() == ["0"]
    options = ("--database", "default", "--database", "circuits")
    assert "no issues" in project.manage("check", *options).stdout


@pytest.mark.parametrize("more", ["", ANOTHER_TIME_ZONE], ids=["", "another time zone"])
@pytest.mark.parametrize("order", list(permutations(["default", "circuits"])), ids=" then ".join)
def test_a_site_behind_it_and_circuits_that_go_straight_to_the_server_share_one_database(
    tmp_path: Path, project_databases: Databases, order: tuple[str, ...], more: str
) -> None:
    with pgbouncer() as port:
        settings = SITE_BEHIND.format(port=port) + more
        project = Project.make(tmp_path, settings=settings, databases=project_databases)
        first, second = (project.manage("migrate", "--database", alias) for alias in order)
        assert "circuits.0001_initial... OK" in first.stdout
        assert "auth.0001_initial... OK" in first.stdout
        assert "No migrations to apply" in second.stdout
        assert project.run(TABLES).stdout.splitlines() == ["auth_user circuits_circuit"] * 2
        options = ("--database", "default", "--database", "circuits")
        assert "no issues" in project.manage("check", *options).stdout


def test_such_circuits_count_what_the_site_rolls_back(
    tmp_path: Path, project_databases: Databases
) -> None:
    with pgbouncer() as port:
        settings = SITE_BEHIND.format(port=port)
        project = Project.make(tmp_path, settings=settings, databases=project_databases).migrated()
        opened = project.run("""
            import circuits
            from django.contrib.auth.models import User
            from django.db import transaction

            for name in "abcde":
                try:
                    with transaction.atomic(), circuits.guard("payments"):
                        User.objects.create(username=name)
                        raise ConnectionError
                except ConnectionError:
                    pass
            print(circuits.get("payments").state, User.objects.count())
        """)
        assert opened.stdout.split() == ["open", "0"]
        assert opened.stderr.startswith("Changed state from closed to open (payments): failures: ")
        assert opened.stderr.count("\n") == 1
        refused = project.run(CALL, check=False)
        assert "CircuitOpenError: Retry after" in refused.stderr
        assert "payments" in project.manage("circuits", "list").stdout
