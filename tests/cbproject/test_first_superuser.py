import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

pytestmark = pytest.mark.django_db


def run(capsys: pytest.CaptureFixture[str]) -> str:
    call_command("first_superuser")
    return capsys.readouterr().out


def test_the_printed_password_logs_in(capsys: pytest.CaptureFixture[str]) -> None:
    password = run(capsys).splitlines()[0].rsplit(" ", 1)[1]
    admin = User.objects.get()
    assert admin.username == "admin"
    assert admin.is_superuser
    assert admin.check_password(password)


def test_passwords_are_random(capsys: pytest.CaptureFixture[str]) -> None:
    first = run(capsys)
    User.objects.all().delete()
    assert run(capsys) != first


def test_a_second_run_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys)
    hashed = User.objects.get().password
    assert run(capsys) == "There is a superuser already: log in to /admin/ as before.\n"
    assert User.objects.get().password == hashed


def test_a_taken_name_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    User.objects.create_user("admin")
    assert "createsuperuser" in run(capsys)
    assert not User.objects.get().is_superuser
