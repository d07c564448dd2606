"""A database that cannot store every character: that is no outage, and no page fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from pytest_django.plugin import DjangoDbBlocker

from . import Project
from .databases import KINDS, Databases, databases

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(KINDS[0] == "sqlite file", reason="SQLite keeps every text"),
]


class Encoding(NamedTuple):
    """How a database stores texts.

    Args:
        words: The clause of its ``CREATE DATABASE``.
        kept: What it stores for ``déjà 漢字 💥``.
        name: Whether it can store that as a circuit's name.
        settings: Further settings of the project.
    """

    words: str
    kept: str
    name: bool
    settings: str = ""


ENCODINGS: Final = {
    "postgres": {
        "latin1": Encoding(
            "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0", "deja ?? ?", False
        )
    },
    "mariadb": {
        "utf8mb3": Encoding("CHARACTER SET utf8mb3", "déjà 漢字 ?", True),
        "latin1": Encoding("CHARACTER SET latin1", "deja ?? ?", True),
        "latin1 connection": Encoding(
            "CHARACTER SET latin1",
            "deja ?? ?",
            False,
            'for each in DATABASES.values(): each["OPTIONS"] = {"charset": "latin1"}',
        ),
    },
}.get(KINDS[0], {})


@pytest.fixture(params=ENCODINGS)
def encoding(request: pytest.FixtureRequest) -> Encoding:
    return ENCODINGS[request.param]


@pytest.fixture
def project(
    tmp_path: Path, encoding: Encoding, django_db_blocker: DjangoDbBlocker
) -> Iterator[Project]:
    with django_db_blocker.unblock(), databases(KINDS[0], encoding.words) as made:
        yield _project(tmp_path, made, encoding)


def _project(folder: Path, made: Databases, encoding: Encoding) -> Project:
    return Project.make(folder, settings=encoding.settings, databases=made).migrated()


FAIL: Final = """
    import circuits

    for _ in range(3):
        try:
            with circuits.guard({name!r}):
                raise ConnectionError("déjà 漢字 💥")
        except ConnectionError:
            pass
        except circuits.CircuitOpenError:
            print("refused")
    print(circuits.get({name!r}).state)
"""


def test_failures_count_and_their_errors_are_kept_as_far_as_they_can_be(
    project: Project, encoding: Encoding
) -> None:
    first, second = (project.run(FAIL.format(name="payments")) for _ in range(2))
    assert (first.stdout.split(), first.stderr) == (["closed"], "")
    assert second.stdout.split()[-1] == "open"
    assert second.stderr.startswith("Changed state from closed to open (payments): failures: ")
    assert second.stderr.count("\n") == 1
    kept = project.run("""
        from circuits.models import Circuit

        circuit = Circuit.objects.get()
        print(ascii([circuit.last_error, circuit.transitions.get().detail]))
    """)
    assert kept.stdout.strip() == ascii([f"ConnectionError: {encoding.kept}"] * 2)


def test_a_name_that_cannot_be_kept_is_a_circuit_of_each_process(
    project: Project, encoding: Encoding
) -> None:
    done = project.run(FAIL.format(name="payments 漢字 💥") * 2)
    assert done.stdout.split() == ["closed", "refused", "open"]
    assert "does not answer" not in done.stderr
    assert ("cannot keep a value" in done.stderr) is not encoding.name
    other = project.run(FAIL.format(name="rates") + "\n    circuits.flush()")
    assert other.stderr == ""
    count = "from circuits.models import Circuit; print(Circuit.objects.count())"
    assert project.run(count).stdout.split() == [str(1 + encoding.name)]


def test_an_error_on_an_alias_that_is_shared_leaves_the_sites_transaction_whole(
    project: Project,
) -> None:
    settings = project.folder / "mysite" / "settings.py"
    settings.write_text(settings.read_text() + '\nCIRCUITS["DATABASE"] = "default"\n')
    done = project.run("""
        import circuits
        from contextlib import suppress
        from django.contrib.auth.models import User
        from django.db import transaction

        with transaction.atomic():
            for _ in range(6):
                with suppress(ConnectionError, circuits.CircuitOpenError):
                    with circuits.guard("payments"):
                        raise ConnectionError("déjà 漢字 💥")
            User.objects.create(username="ann")
        print(User.objects.count(), circuits.get("payments").state)
    """)
    assert done.stdout.split() == ["1", "open"]
    assert "does not answer" not in done.stderr


def test_the_admin_takes_any_text(project: Project, encoding: Encoding) -> None:
    done = project.run("""
        from django.contrib.admin.models import LogEntry
        from django.contrib.auth.models import User
        from django.test import Client

        import circuits
        from circuits.console.policy_form import SHARES
        from circuits.models import POLICY_FIELDS, Circuit

        with circuits.guard("payments"):
            pass
        circuits.get("payments").force_open(reason="first")
        (circuit,) = Circuit.objects.all()
        client = Client(headers={"host": "localhost"})
        client.force_login(User.objects.create_superuser("ann"))
        admin, words = "/admin/circuits", {"q": "漢字 💥"}

        def say(*found):
            print(*found, flush=True)

        for page in ("circuit/", "circuit/live/", "transition/", "transition/export/"):
            found = client.get(f"{admin}/{page}", words)
            say(found.status_code, "payments" in str(found.getvalue()))
        acted = {"action": "force_open", "select_across": "1", "_selected_action": [circuit.pk]}
        say(client.post(f"{admin}/circuit/?q=漢字 💥", acted).status_code)

        asked = {"reason": "déjà 漢字 💥", "seconds": "300", "confirmed": "yes"}
        say(client.post(f"{admin}/circuit/{circuit.pk}/operate/force_closed/", asked).status_code)
        circuit.refresh_from_db()
        say(circuit.mode, LogEntry.objects.count())

        fields = {name: getattr(Circuit(), name) for name in POLICY_FIELDS}
        fields |= {name: 100 * fields[name] for name in SHARES}
        for name, url in (("rates", "https://rates.example/💥"), ("rates 漢字 💥", "")):
            found = client.post(f"{admin}/circuit/add/", {**fields, "name": name, "probe_url": url})
            say(found.status_code, "has no characters" in found.content.decode())
        for each in Circuit.objects.exclude(pk=circuit.pk):
            say(client.post(f"{admin}/circuit/{each.pk}/delete/", {"post": "yes"}).status_code)
    """)
    lists = ["200 False"] * 4
    steered = ["302", "302", "forced_closed 1"]
    refused = ["200 True"] + (["302 False", "302"] if encoding.name else ["200 True"])
    assert done.stdout.splitlines() == [*lists, *steered, *refused]
