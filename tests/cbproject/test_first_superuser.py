import re
import shlex
from io import StringIO
from pathlib import Path
from shutil import which
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from tests.commands import Terminal

pytestmark = pytest.mark.django_db


def run(screen: type[StringIO] = Terminal) -> str:
    """Run the command on a terminal or into a pipe; return its output."""
    out = screen()
    call_command("first_superuser", stdout=out)
    return out.getvalue()


def test_the_printed_password_logs_in() -> None:
    password = run().splitlines()[0].rsplit(" ", 1)[1]
    admin = User.objects.get()
    assert admin.username == "admin"
    assert admin.is_superuser
    assert admin.check_password(password)


def test_a_log_gets_no_password_but_the_way_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    said = run(StringIO)
    assert "its password is shown on a terminal only" in said
    assert not User.objects.exists()
    (command,) = re.findall(r"and run `manage.py (.*?)`", said)
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "correct horse battery")
    call_command(*shlex.split(command), stdout=StringIO())
    assert User.objects.get(username="admin", is_superuser=True).check_password(
        "correct horse battery"
    )
    assert "There is a superuser already" in run(StringIO)


def test_passwords_are_random() -> None:
    first = run()
    User.objects.all().delete()
    assert run() != first


def test_a_second_run_changes_nothing() -> None:
    run()
    hashed = User.objects.get().password
    assert run().startswith("There is a superuser already: log in to /admin/ as before.\n")
    assert User.objects.get().password == hashed


def test_a_second_run_tells_the_way_back_to_a_lost_password() -> None:
    User.objects.create_superuser("the boss's")
    (command,) = re.findall(r"A lost password: (.*) sets another\.$", run(), re.MULTILINE)
    interpreter, script, *argv = shlex.split(command)
    assert Path(which(interpreter) or interpreter).exists()
    assert (script, Path(script).exists()) == ("manage.py", True)
    with patch("getpass.getpass", return_value="correct horse battery"):
        call_command(*argv)
    assert User.objects.get().check_password("correct horse battery")


def test_a_taken_name_is_left_alone() -> None:
    User.objects.create_user("admin")
    assert "createsuperuser" in run()
    assert not User.objects.get().is_superuser
