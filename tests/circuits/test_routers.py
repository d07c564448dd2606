"""The router: it keeps the circuits on their database, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import router
from django.db.utils import ConnectionHandler
from pytest_django import Settings
from pytest_django.plugin import DjangoDbBlocker

from circuits import routers
from circuits.models import Circuit, Transition
from circuits.routers import CircuitsRouter
from circuits.storage import identity as storage_identity
from circuits.storage import testruns

SQLITE = "django.db.backends.sqlite3"
DUMMY = "django.db.backends.dummy"

Layout = Callable[[dict[str, Any], dict[str, Any]], CircuitsRouter]


@pytest.fixture
def layout(monkeypatch: pytest.MonkeyPatch, settings: Settings, identity: Any) -> Layout:
    """Return a function that sets the databases of site and circuits; nothing connects to them."""
    settings.CIRCUITS = {"DATABASE": "circuits"}
    monkeypatch.setattr(routers, "is_same_database", identity.is_same_database)

    def lay_out(site: dict[str, Any], circuits: dict[str, Any]) -> CircuitsRouter:
        handler = ConnectionHandler({"default": site, "circuits": circuits, "other": OTHER})
        monkeypatch.setattr(identity, "connections", handler)
        identity.note_places()
        return CircuitsRouter()

    return lay_out


@pytest.fixture
def identity() -> Any:
    """Return the module as it is in a process that has just started, without test databases."""
    spec = find_spec("circuits.storage.identity")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OTHER = {"ENGINE": SQLITE, "NAME": "other.sqlite3"}
OWN_FILE = ({"ENGINE": SQLITE, "NAME": "site.sqlite3"}, {"ENGINE": SQLITE, "NAME": "c.sqlite3"})
ONE_FILE = (OWN_FILE[0], {**OWN_FILE[0], "OPTIONS": ""})


def test_the_models_go_to_the_alias_of_the_setting(settings: Settings) -> None:
    for alias in ("circuits", "default"):
        settings.CIRCUITS = {"DATABASE": alias}
        for model in (Circuit, Transition):
            assert router.db_for_read(model) == router.db_for_write(model) == alias


def test_the_models_of_others_stay_where_they_are() -> None:
    assert CircuitsRouter().db_for_read(get_user_model()) is None
    assert CircuitsRouter().db_for_write(get_user_model()) is None
    assert router.db_for_write(get_user_model()) == "default"


def test_a_database_of_their_own_holds_the_circuits_and_nothing_else(layout: Layout) -> None:
    own = layout(*OWN_FILE)
    assert own.allow_migrate("circuits", "circuits") is True
    assert own.allow_migrate("default", "circuits") is False
    assert own.allow_migrate("circuits", "auth") is False


def test_other_databases_are_left_to_others(layout: Layout) -> None:
    own = layout(*OWN_FILE)
    assert own.allow_migrate("default", "auth") is None
    assert own.allow_migrate("other", "auth") is None
    assert own.allow_migrate("other", "circuits") is False


def test_with_a_second_connection_to_the_sites_database_both_hold_everything(
    layout: Layout,
) -> None:
    second = layout(*ONE_FILE)
    for alias in ("default", "circuits"):
        assert second.allow_migrate(alias, "circuits") is None
        assert second.allow_migrate(alias, "auth") is None
    assert second.allow_migrate("other", "circuits") is False


def test_on_the_sites_own_alias_the_circuits_are_one_app_among_others(
    layout: Layout, settings: Settings
) -> None:
    shared = layout(*OWN_FILE)
    settings.CIRCUITS = {"DATABASE": "default"}
    assert shared.allow_migrate("default", "circuits") is None
    assert shared.allow_migrate("default", "auth") is None
    assert shared.allow_migrate("circuits", "circuits") is False
    assert shared.allow_migrate("circuits", "auth") is None


def test_a_mistake_elsewhere_in_the_setting_is_for_the_checks_to_tell(
    layout: Layout, settings: Settings
) -> None:
    own = layout(*OWN_FILE)
    settings.CIRCUITS = {"DATABASE": "circuits", "TRESHOLD": 5}
    assert own.allow_migrate("circuits", "circuits") is True
    assert own.allow_migrate("circuits", "auth") is False
    assert own.allow_migrate("default", "circuits") is False


@pytest.mark.parametrize("raw", [{"DATABASE": "circuit"}, {"DATABASE": ["circuits"]}, []])
def test_an_alias_that_is_not_there_puts_the_tables_nowhere(
    layout: Layout, settings: Settings, raw: Any
) -> None:
    own = layout(*OWN_FILE)
    settings.CIRCUITS = raw
    for alias in ("default", "circuits", "other"):
        assert own.allow_migrate(alias, "circuits") is False
        assert own.allow_migrate(alias, "auth") is None


ADDRESS = {"ENGINE": DUMMY, "HOST": "db", "PORT": "5432", "NAME": "site"}


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"USER": "circuits", "PASSWORD": "other"}, True),
        ({"NAME": "circuits"}, False),
        ({"HOST": "db2"}, False),
        ({"PORT": "5433"}, False),
        ({"ENGINE": SQLITE}, False),
    ],
)
def test_two_aliases_are_one_database_when_they_have_one_address(
    layout: Layout, changed: dict[str, str], same: bool
) -> None:
    allowed = layout(ADDRESS, {**ADDRESS, **changed}).allow_migrate("default", "circuits")
    assert allowed is (None if same else False)


def test_the_answer_of_the_start_holds_while_a_test_runner_renames_databases(
    layout: Layout,
) -> None:
    site, second = ONE_FILE[0].copy(), ONE_FILE[1].copy()
    own = layout(site, second)
    assert own.allow_migrate("default", "circuits") is None
    second["NAME"] = "test_circuits.sqlite3"
    assert own.allow_migrate("default", "circuits") is None


def test_a_test_run_has_one_database_for_an_alias_and_its_mirror(layout: Layout) -> None:
    site, second = {**ADDRESS}, {**ADDRESS, "HOST": "pooler", "TEST": {"MIRROR": "default"}}
    own = layout(site, second)
    assert own.allow_migrate("default", "circuits") is False
    site["NAME"] = "test_site"
    assert own.allow_migrate("default", "circuits") is None


@pytest.mark.parametrize("circuits", [{"ENGINE": "oracle"}, {"NAME": "/nowhere/c.sqlite3"}])
def test_no_database_is_asked_where_none_is_connected(
    layout: Layout, circuits: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    own = layout(OWN_FILE[0], {**OWN_FILE[1], **circuits})
    assert own.allow_migrate("default", "circuits") is False
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("site", "circuits", "same"),
    [
        ("site.sqlite3", "./site.sqlite3", True),
        ("site.sqlite3", "file:site.sqlite3?mode=rw", True),
        ("my site.sqlite3", "file:my%20site.sqlite3", True),
        ("site.sqlite3", "circuits.sqlite3", False),
        ("site", "file:site?mode=memory&cache=shared", False),
        (":memory:", "file::memory:?cache=shared", False),
    ],
)
def test_a_file_is_known_by_its_path_and_a_database_in_memory_by_its_name(
    layout: Layout, identity: Any, site: str, circuits: str, same: bool
) -> None:
    layout({"ENGINE": SQLITE, "NAME": site}, {"ENGINE": SQLITE, "NAME": circuits})
    assert identity.is_same_database("default", "circuits", ask=True) is same


def test_a_database_that_cannot_be_asked_is_known_by_its_settings(
    layout: Layout,
    identity: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    django_db_blocker: DjangoDbBlocker,
) -> None:
    site = {"ENGINE": SQLITE, "NAME": str(tmp_path / "site.sqlite3")}
    own = layout(site, {"ENGINE": "no.such.engine", "NAME": "circuits"})
    handler = identity.connections
    with django_db_blocker.unblock():
        handler["default"].connect()
    for _ in range(2):
        assert own.allow_migrate("default", "circuits") is False
    (record,) = caplog.records
    assert "Cannot ask the databases 'default' and 'circuits' whether they are one; by their" in (
        record.getMessage()
    )
    handler["default"].close()


@pytest.mark.usefixtures("committed")
def test_a_test_that_overrides_the_installed_apps_does_not_make_its_databases_real(
    settings: Settings,
) -> None:
    assert testruns.is_on()
    before = [storage_identity.is_renamed(alias) for alias in ("default", "circuits")]
    assert any(before)
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django.contrib.humanize"]
    after = [storage_identity.is_renamed(alias) for alias in ("default", "circuits")]
    assert (after, testruns.is_on()) == (before, True)
