import json

import pytest

from tests.cbproject.conftest import Run

PRODUCTION = {
    "DJANGO_SECRET_KEY": "a-long-random-text-of-your-own-which-nobody-else-can-guess-0123456789",
    "DJANGO_ALLOWED_HOSTS": "shop.example.org",
}


def read(python: Run, *names: str, **env: str) -> list[object]:
    """The values of settings under an environment."""
    values = ", ".join(f"settings.{name}" for name in names)
    code = f"import json; from cbproject import settings; print(json.dumps([{values}]))"
    result = python("-c", code, **env)
    assert result.returncode == 0, result.stderr
    answer: list[object] = json.loads(result.stdout)
    return answer


def test_production_passes_the_deployment_check(manage: Run) -> None:
    result = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert result.returncode == 0, result.stderr
    assert "no issues" in result.stdout


def test_a_missing_secret_key_is_named(manage: Run) -> None:
    result = manage("check")
    assert result.returncode != 0
    assert "Set the environment variable DJANGO_SECRET_KEY" in result.stderr


def test_production_is_the_default(python: Run) -> None:
    debug, mock, hosts, redirect = read(
        python,
        "DEBUG",
        "MOCKAPI_ENABLED",
        "ALLOWED_HOSTS",
        "SECURE_SSL_REDIRECT",
        DJANGO_SECRET_KEY=PRODUCTION["DJANGO_SECRET_KEY"],
    )
    assert (debug, mock, hosts, redirect) == (False, False, [], True)


def test_debug_serves_this_machine_and_the_mock(python: Run) -> None:
    mock, hosts, redirect = read(
        python,
        "MOCKAPI_ENABLED",
        "ALLOWED_HOSTS",
        "SECURE_SSL_REDIRECT",
        DJANGO_SECRET_KEY="x",
        DJANGO_DEBUG="true",
    )
    assert (mock, hosts, redirect) == (True, ["localhost", "127.0.0.1", "[::1]"], False)


def test_sqlite_gives_the_circuits_a_file_of_their_own(python: Run) -> None:
    default, circuits = read(
        python,
        "DATABASES['default']['NAME']",
        "DATABASES['circuits']['NAME']",
        DJANGO_SECRET_KEY="x",
    )
    assert str(default).endswith("/var/db.sqlite3")
    assert str(circuits).endswith("/var/circuits.sqlite3")


@pytest.mark.parametrize("url", ["postgres://site@db.test/shop", "mysql://site@db.test/shop"])
def test_a_server_takes_the_circuits_as_a_second_connection(python: Run, url: str) -> None:
    default, circuits = read(
        python,
        "DATABASE_URL",
        "CIRCUITS_DATABASE_URL",
        DJANGO_SECRET_KEY="x",
        DATABASE_URL=url,
    )
    assert default == circuits == url
