"""A site on psycopg2, which keeps the database's error code elsewhere than psycopg 3."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from . import Project
from .databases import KINDS, Databases

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(KINDS != ("postgres",), reason="psycopg2 is for PostgreSQL"),
]

#: Hides psycopg 3, which Django prefers if both are installed.
WITHOUT_PSYCOPG_3: Final = """
import sys

sys.modules["psycopg"] = None
"""

#: Refuses the first commit of a change, as the database does when transactions conflict.
REFUSE_ONE_COMMIT: Final = """
from django.db import connection

with connection.cursor() as cursor:
    cursor.execute('''
        CREATE SEQUENCE commits;
        CREATE FUNCTION refuse_one() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('commits') = 1 THEN
                RAISE EXCEPTION 'told to' USING ERRCODE = '{code}';
            END IF;
            RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER refuse_one AFTER INSERT ON circuits_transition
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_one();
    ''')
    print(cursor.db.Database.__name__)
"""

STEER: Final = """
import circuits
from django.db import Error

with circuits.guard("payments"):
    pass
circuits.flush()
try:
    circuits.get("payments").force_open()
except Error as error:
    print(type(error).__name__)
print(circuits.get("payments").mode)
"""


@pytest.fixture
def project(tmp_path: Path, project_databases: Databases) -> Project:
    made = Project.make(tmp_path, settings=WITHOUT_PSYCOPG_3, databases=project_databases)
    return made.migrated()


def test_a_commit_that_met_another_transaction_is_done_again(project: Project) -> None:
    assert project.run(REFUSE_ONE_COMMIT.format(code="40P01")).stdout.split() == ["psycopg2"]
    assert project.run(STEER).stdout.split() == ["forced_open"]


def test_a_commit_that_was_refused_is_not_in_doubt(project: Project) -> None:
    project.run(REFUSE_ONE_COMMIT.format(code="23514"))
    assert project.run(STEER).stdout.split() == ["IntegrityError", "automatic"]


def test_an_option_of_psycopg_3_is_told_of(project: Project) -> None:
    settings = project.folder / "mysite" / "settings.py"
    option = '\nDATABASES["circuits"]["OPTIONS"] = {"prepare_threshold": 5}\n'
    settings.write_text(settings.read_text() + option)
    remedy = "psycopg2 has fewer options than psycopg 3: leave this one out, or install psycopg 3."
    assert remedy in project.run("import circuits\nwith circuits.guard('rates'): pass").stderr
    assert remedy in project.manage("check", "--database", "circuits").stderr
