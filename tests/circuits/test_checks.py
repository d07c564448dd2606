"""The system checks, each of them both ways."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core import checks
from django.core.checks import CheckMessage, Error, run_checks
from pytest_django import Settings

from circuits.checks import ROUTER, check_settings

ALIAS = "circuits"


def found() -> list[CheckMessage]:
    """What Django's own run of the checks finds about circuits."""
    return [message for message in run_checks() if str(message.id).startswith("circuits.")]


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options of a fit database for the circuits, for a test to change."""
    options = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "circuits.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},
    }
    monkeypatch.setitem(django_settings.DATABASES, ALIAS, options)
    return options


def test_the_reference_project_has_nothing_to_fix() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        ({"TRESHOLD": 5}, "unknown key 'TRESHOLD'"),
        ({"SNAPSHOT_SECONDS": -1}, "SNAPSHOT_SECONDS must be a number from 0 to 60, not -1."),
        ({"DATABASE": "elsewhere"}, "DATABASE names 'elsewhere', which is not in DATABASES."),
        ({"CIRCUITS": {"payments": {"threshold": 0}}}, "['payments']: threshold must be"),
        ([], "CIRCUITS must be a dict, not list."),
    ],
)
def test_e001_tells_what_is_wrong_with_the_setting(settings: Settings, raw: Any, part: str) -> None:
    settings.CIRCUITS = raw
    (error,) = found()
    assert isinstance(error, Error)
    assert error.id == "circuits.E001"
    assert part in error.msg


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
