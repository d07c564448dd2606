import html
import json
import stat
from pathlib import Path

import pytest

from tests.cbproject.conftest import DEVELOPMENT, Run

PRODUCTION = {
    "DJANGO_SECRET_KEY": "a-long-random-text-of-your-own-which-nobody-else-can-guess-0123456789",
    "DJANGO_ALLOWED_HOSTS": "shop.example.org",
}


def read(python: Run, *names: str, **env: str) -> list[object]:
    """Return the values of settings in an environment."""
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


def test_where_faults_may_be_injected_the_deployment_check_says_so(manage: Run) -> None:
    result = manage("check", "--deploy", **PRODUCTION, CIRCUITS_ALLOW_INJECTION="true")
    assert "circuits.W010" in result.stderr


ON = {"EXAMPLES_ENABLED": "true"}


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


SITE = "postgres://site@db.test/shop"


@pytest.mark.parametrize(
    ("urls", "mirrored"),
    [
        ({"DATABASE_URL": SITE}, "default"),
        ({"DATABASE_URL": "mysql://site@db.test/shop"}, "default"),
        (
            {
                "DATABASE_URL": SITE,
                "CIRCUITS_DATABASE_URL": "postgres://circuits@db.test/shop?connect_timeout=1",
            },
            "default",
        ),
        ({"DATABASE_URL": SITE, "CIRCUITS_DATABASE_URL": "postgres://site@db2.test/shop"}, None),
        ({"DATABASE_URL": SITE, "CIRCUITS_DATABASE_URL": "postgres://site@db.test/other"}, None),
        ({"DATABASE_URL": SITE, "CIRCUITS_DATABASE_URL": "mysql://site@db.test/shop"}, None),
        ({}, None),
    ],
)
def test_tests_have_one_database_where_both_aliases_lead_to_one(
    python: Run, urls: dict[str, str], mirrored: str | None
) -> None:
    name = "DATABASES['circuits'].get('TEST', {}).get('MIRROR')"
    assert read(python, name, DJANGO_SECRET_KEY="x", **urls) == [mirrored]


#: Requests each example, and prints the statuses.
ASK = """
import django
django.setup()
from django.test import Client
browser = Client(headers={"host": "site.test"})
paths = ["/examples/success", "/examples/async/success"]
print([browser.get(path, secure=True).status_code for path in paths])
"""


@pytest.mark.parametrize(("enabled", "statuses"), [({}, "[404, 404]"), (ON, "[502, 502]")])
def test_the_examples_call_out_for_nobody_unless_they_are_asked_for(
    migrated: Run, python: Run, enabled: dict[str, str], statuses: str
) -> None:
    """In production the pages do not exist; elsewhere they call a remote that does not answer."""
    site = {**PRODUCTION, "DJANGO_ALLOWED_HOSTS": "site.test", "REMOTE_URL": "http://127.0.0.1:9"}
    result = python("-c", ASK, **site, **enabled)
    assert result.stdout.splitlines()[-1:] == [statuses], result.stderr


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
        "DATABASES['default']['HOST']",
        "DATABASES['circuits']['HOST']",
        DJANGO_SECRET_KEY="x",
        DATABASE_URL=url,
    )
    assert default == circuits == "db.test"


BROKER = """
from cbproject.celery import app
import json
app.connection()  # which reads the settings
print(json.dumps([app.conf.broker_url, app.conf.broker_write_url]))
"""


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ({}, "filesystem://localhost"),
        ({"CELERY_BROKER_URL": ""}, "filesystem://localhost"),
        ({"CELERY_BROKER_URL": "redis://cache.test/1"}, "redis://cache.test/1"),
    ],
)
def test_the_broker_is_that_of_the_environment(
    python: Run, tmp_path: Path, env: dict[str, str], url: str
) -> None:
    if url.startswith("redis:"):
        pytest.importorskip("redis")  # an extra
    file = tmp_path / "env"
    file.write_text("".join(f"{name}={value}\n" for name, value in env.items()))
    for given in (env, {"DJANGO_ENV_FILE": str(file)}):
        result = python("-c", BROKER, DJANGO_SECRET_KEY="x", **given)
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout) == [url, url]


def modes(folder: Path) -> dict[str, str]:
    found = [folder, *folder.glob("*.sqlite3*")]
    return {each.name: f"{stat.S_IMODE(each.stat().st_mode):o}" for each in found}


def test_what_the_project_writes_is_for_its_owner(migrated: Run, tmp_path: Path) -> None:
    var = tmp_path / "var"
    private = {"var": "700", "db.sqlite3": "600", "circuits.sqlite3": "600"}
    assert modes(var) == private
    for path in (var, *var.glob("*.sqlite3")):  # as earlier versions left them
        path.chmod(0o755)
    keep_open = "; ".join(
        [
            "from circuits.models import Circuit",
            "Circuit.objects.create(name='payments')",
            "import os, pathlib, stat",
            "var = pathlib.Path(os.environ['VAR_DIR'])",
            "print(sorted(oct(path.stat().st_mode)[-3:] for path in var.glob('*.sqlite3*')))",
        ]
    )
    result = migrated("shell", "--no-imports", "--command", keep_open)
    assert result.stdout.count("600") >= 3, "what SQLite keeps beside a database too"
    assert "6" not in result.stdout.replace("600", "")
    assert {**modes(var), **private} == modes(var)


PAGE_OF_AN_ERROR = """
import os, django
django.setup()
from django.test import Client
client = Client(raise_request_exception=False, **os.environ)  # as runserver does
answer = client.get("/admin/login/?next=/admin/", HTTP_HOST="localhost", HTTP_COOKIE="sessionid=x")
print(answer.status_code, answer.content.decode())
"""


def test_the_page_of_an_error_shows_no_password(python: Run, tmp_path: Path) -> None:
    env = {
        **DEVELOPMENT,
        # SQLite has no passwords, and says so when it connects.
        "DATABASE_URL": f"sqlite:///{tmp_path}/x.sqlite3?password=hunter2",
        "CIRCUITS_DATABASE_URL": f"sqlite:///{tmp_path}/y.sqlite3?password=hunter2",
        "CELERY_BROKER_URL": "redis://:hunter2@cache.test/1",
        "CIRCUITS_HEALTH_TOKEN": "hunter2",
    }
    result = python("-c", PAGE_OF_AN_ERROR, **env)
    page = html.unescape(result.stdout)
    assert page.startswith("500 "), result.stderr
    for shown in (
        "keyword argument",
        "conn_params",
        "CELERY_BROKER_URL",
        "VAR_DIR",
    ):
        assert shown in page
    assert "hunter2" not in page
