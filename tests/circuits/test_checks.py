"""The system checks: each of them passes and fails as it should."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core import checks
from django.core.checks import CheckMessage, Error, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db.models import Model
from pytest_django import Settings

from circuits.checks import ROUTER, check_settings
from circuits.routers import CircuitsRouter

ALIAS = "circuits"


def found() -> list[CheckMessage]:
    """Run Django's checks, and return the messages about circuits."""
    return [message for message in run_checks() if str(message.id).startswith("circuits.")]


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the options of a suitable database for the circuits, which a test may change."""
    options = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "circuits.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},
    }
    monkeypatch.setitem(django_settings.DATABASES, ALIAS, options)
    return options


def test_the_reference_project_has_nothing_to_fix() -> None:
    assert found() == []


BAD_SETTINGS = [
    ({"TRESHOLD": 5}, "unknown key 'TRESHOLD'"),
    ({"SNAPSHOT_SECONDS": -1}, "SNAPSHOT_SECONDS must be a number from 0 to 60, not -1."),
    ({"DATABASE": "elsewhere"}, "DATABASE names 'elsewhere', which is not in DATABASES."),
    ({"DATABASE": ["circuits"]}, "DATABASE names ['circuits'], which is not in DATABASES."),
    ({"CIRCUITS": {"payments": {"threshold": 0}}}, "['payments']: threshold must be"),
    ([], "CIRCUITS must be a dict, not list."),
]


@pytest.mark.parametrize(("raw", "part"), BAD_SETTINGS)
def test_e001_tells_what_is_wrong_with_the_setting(settings: Settings, raw: Any, part: str) -> None:
    settings.CIRCUITS = raw
    (error,) = found()
    assert isinstance(error, Error)
    assert error.id == "circuits.E001"
    assert part in error.msg


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize(("raw", "part"), BAD_SETTINGS)
def test_e001_comes_before_anything_that_asks_the_router(
    settings: Settings, raw: Any, part: str
) -> None:
    # As migrate runs the checks, and since Django 6.1 every command.
    settings.CIRCUITS = raw
    with pytest.raises(SystemCheckError, match=re.escape(part)):
        call_command("check", databases=["default", "circuits"])


def test_e001_tells_of_every_problem_at_once(settings: Settings) -> None:
    settings.CIRCUITS = {"MAX_CIRCUITS": 0, "FLUSH_SECONDS": 0}
    assert [error.id for error in found()] == ["circuits.E001"] * 2


def test_a_database_of_its_own_passes(database: dict[str, Any]) -> None:
    assert found() == []


def test_e002_where_a_request_would_take_its_outcomes_back(database: dict[str, Any]) -> None:
    database["ATOMIC_REQUESTS"] = True
    (error,) = found()
    assert isinstance(error, Error)
    assert error.id == "circuits.E002"
    assert error.hint == "Leave ATOMIC_REQUESTS out of DATABASES['circuits']."
    database["ATOMIC_REQUESTS"] = False
    assert found() == []


def test_w001_where_the_circuits_share_the_sites_alias(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, database: dict[str, Any]
) -> None:
    monkeypatch.setitem(django_settings.DATABASES, "default", database)
    settings.DATABASE_ROUTERS = []
    for raw in ({}, {"DATABASE": "default"}):
        settings.CIRCUITS = raw
        (warning,) = found()
        assert isinstance(warning, checks.Warning)
        assert warning.id == "circuits.W001"
        assert "an alias of their own" in str(warning.hint)


def test_e003_where_nothing_routes_the_circuits_to_their_database(
    settings: Settings, database: dict[str, Any]
) -> None:
    settings.DATABASE_ROUTERS = []
    (error,) = found()
    assert isinstance(error, Error)
    assert error.id == "circuits.E003"
    assert error.hint == "Add 'circuits.routers.CircuitsRouter' to DATABASE_ROUTERS."
    settings.DATABASE_ROUTERS = [ROUTER]
    assert check_settings() == []


class OurOwnRouter(CircuitsRouter):
    """A router that subclasses ours."""


class EquivalentRouter:
    """A router that shares no code with ours, but gives the same answers."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return ALIAS if model._meta.app_label == "circuits" else None

    db_for_write = db_for_read


class ReplicaRouter:
    """A router for the whole site: it writes to one database and reads from another."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: type[Model], **hints: Any) -> None:
        return None


class OneDatabaseRouter:
    """A router that knows only one database."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == "default"


@pytest.mark.parametrize(
    "routers", [[f"{__name__}.OurOwnRouter"], [CircuitsRouter()], [EquivalentRouter()]]
)
def test_any_router_that_sends_the_circuits_there_will_do(
    settings: Settings, database: dict[str, Any], routers: list[Any]
) -> None:
    settings.DATABASE_ROUTERS = routers
    assert found() == []


def test_e003_where_another_router_is_asked_first(
    settings: Settings, database: dict[str, Any]
) -> None:
    class GreedyRouter:
        def db_for_write(self, model: type[Model], **hints: Any) -> str:
            return "default"

    settings.DATABASE_ROUTERS = [GreedyRouter(), ROUTER]
    (error,) = found()
    assert isinstance(error, Error)
    assert error.id == "circuits.E003"
    assert "the routers send them to 'default'" in error.msg
    assert error.hint == "Put 'circuits.routers.CircuitsRouter' first in DATABASE_ROUTERS."


def test_w003_where_a_replica_is_read(settings: Settings, database: dict[str, Any]) -> None:
    settings.DATABASE_ROUTERS = [ReplicaRouter(), ROUTER]
    (warning,) = found()
    assert isinstance(warning, checks.Warning)
    assert warning.id == "circuits.W003"
    assert "let them be read from 'replica'" in warning.msg
    settings.DATABASE_ROUTERS = [ROUTER, ReplicaRouter()]
    assert found() == []


def test_w003_on_the_sites_own_alias_too(settings: Settings) -> None:
    settings.CIRCUITS = {"DATABASE": "default"}
    settings.DATABASE_ROUTERS = [ReplicaRouter()]
    assert "circuits.W003" in [message.id for message in found()]


@pytest.mark.skipif(
    django_settings.TEST_DATABASE != "sqlite", reason="either alias makes the tables of a server"
)
def test_e007_where_no_router_lets_the_tables_be_made(
    settings: Settings, database: dict[str, Any]
) -> None:
    settings.DATABASE_ROUTERS = [OneDatabaseRouter(), ROUTER]
    (error,) = found()
    assert isinstance(error, Error)
    assert error.id == "circuits.E007"
    settings.DATABASE_ROUTERS = [ROUTER, OneDatabaseRouter()]
    assert found() == []


@pytest.mark.parametrize("app", ["circuits", "circuits.apps.CircuitsConfig"])
def test_w004_where_each_tenant_would_get_tables(settings: Settings, app: str) -> None:
    def types(**apps: str) -> dict[str, dict[str, list[str]]]:
        return {name: {"APPS": ["shop", each]} for name, each in apps.items()}

    for name, value in (("TENANT_APPS", ["shop", app]), ("TENANT_TYPES", types(firm=app))):
        setattr(settings, name, value)
        (warning,) = found()
        assert isinstance(warning, checks.Warning)
        assert warning.id == "circuits.W004"
        delattr(settings, name)
    settings.TENANT_APPS = ["shop", "circuits_of_ours"]
    settings.TENANT_TYPES = types(public=app, firm="circuits_of_ours")
    assert found() == []


@pytest.mark.parametrize("options", [None, {}, {"transaction_mode": "DEFERRED"}])
def test_w002_where_two_writers_on_sqlite_could_fail(
    database: dict[str, Any], options: dict[str, str] | None
) -> None:
    database["OPTIONS"] = options
    if options is None:
        del database["OPTIONS"]
    (warning,) = found()
    assert isinstance(warning, checks.Warning)
    assert warning.id == "circuits.W002"
    assert warning.hint == (
        "Set DATABASES['circuits']['OPTIONS']['transaction_mode'] = 'IMMEDIATE'."
    )


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_w002_is_for_sqlite_only(database: dict[str, Any], engine: str) -> None:
    database.update(ENGINE=f"django.db.backends.{engine}", OPTIONS={})
    assert check_settings() == []


def test_e006_tells_of_a_probe_url_that_may_not_be_called(settings: Settings) -> None:
    named = {
        "mail": {},
        "payments": {"probe_url": "https://pay.example/health"},
        "rates": {"probe_url": "https://rates.test/"},
    }
    hosts = [".example"]
    settings.CIRCUITS = {**settings.CIRCUITS, "PROBE_HOSTS": hosts, "CIRCUITS": named}
    (error,) = found()
    assert error.id == "circuits.E006"
    assert error.msg == (
        "CIRCUITS['CIRCUITS']['rates']: No probe may call the host rates.test; "
        "add it to CIRCUITS['PROBE_HOSTS'] if one may."
    )
    settings.CIRCUITS = {**settings.CIRCUITS, "PROBE_HOSTS": [*hosts, "rates.test"]}
    assert found() == []


def test_w008_tells_of_a_webhook_that_error_pages_show(settings: Settings) -> None:
    hook = "https://hooks.example/hunter2"
    settings.CIRCUITS = {**settings.CIRCUITS, "NOTIFY": {"WEBHOOK": hook}}
    [warning] = found()
    assert warning.id == "circuits.W008"
    assert "SECRET_WEBHOOK" in str(warning.hint)
    assert "hunter2" not in str(warning)
    for notify in ({"SECRET_WEBHOOK": hook}, {"WEBHOOK": ""}, {}):
        settings.CIRCUITS = {**settings.CIRCUITS, "NOTIFY": notify}
        assert found() == []


@pytest.mark.parametrize(("length", "is_weak"), [(0, False), (1, True), (31, True), (32, False)])
def test_w009_tells_of_a_token_that_can_be_guessed(
    settings: Settings, length: int, is_weak: bool
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "HEALTH_TOKEN": "q" * length}
    assert found() == [], "it matters where others reach the site"
    warnings = [
        message
        for message in run_checks(include_deployment_checks=True)
        if str(message.id).startswith("circuits.")
    ]
    assert [warning.id for warning in warnings] == ["circuits.W009"] * is_weak
    assert "q" * 8 not in str(warnings)


@pytest.mark.parametrize("is_on", [False, True])
def test_w010_tells_of_faults_that_may_be_injected(settings: Settings, is_on: bool) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "ALLOW_INJECTION": is_on}
    assert found() == [], "it is for where others rely on the site"
    messages = run_checks(include_deployment_checks=True)
    about = [message for message in messages if "ALLOW_INJECTION" in str(message)]
    assert [message.id for message in about] == ["circuits.W010"] * is_on


def test_a_setting_that_is_wrong_is_told_once_where_deployment_is_checked(
    settings: Settings,
) -> None:
    settings.CIRCUITS = {**settings.CIRCUITS, "HEALTH_TOKEN": "two words"}
    messages = run_checks(include_deployment_checks=True)
    assert [message.id for message in messages if "HEALTH" in str(message)] == ["circuits.E001"]
