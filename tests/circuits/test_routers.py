"""Where the circuits are kept, and that nothing else is kept with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth import get_user_model
from django.db import router
from django.db.utils import ConnectionHandler
from pytest_django import Settings

from circuits import routers
from circuits.models import Circuit, Transition
from circuits.routers import CircuitsRouter

SQLITE = "django.db.backends.sqlite3"
DUMMY = "django.db.backends.dummy"

Layout = Callable[[dict[str, str], dict[str, str]], CircuitsRouter]


@pytest.fixture
def layout(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Layout]:
    """Lays out the site's database and that of the circuits; nothing connects to them."""
    settings.CIRCUITS = {"DATABASE": "circuits"}

    def lay_out(site: dict[str, str], circuits: dict[str, str]) -> CircuitsRouter:
        handler = ConnectionHandler({"default": site, "circuits": circuits, "other": OTHER})
        monkeypatch.setattr(routers, "connections", handler)
        routers.is_same_database.cache_clear()
        return CircuitsRouter()

    yield lay_out
    routers.is_same_database.cache_clear()


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
        assert second.allow_migrate(alias, "circuits") is True
        assert second.allow_migrate(alias, "auth") is None
    assert second.allow_migrate("other", "circuits") is False


def test_on_the_sites_own_alias_the_circuits_are_one_app_among_others(
    layout: Layout, settings: Settings
) -> None:
    shared = layout(*OWN_FILE)
    settings.CIRCUITS = {"DATABASE": "default"}
    assert shared.allow_migrate("default", "circuits") is True
    assert shared.allow_migrate("default", "auth") is None
    assert shared.allow_migrate("circuits", "circuits") is False
    assert shared.allow_migrate("circuits", "auth") is None


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
    assert layout(ADDRESS, {**ADDRESS, **changed}).allow_migrate("default", "circuits") is same


def test_the_answer_of_the_start_holds_while_a_test_runner_renames_databases(
    layout: Layout,
) -> None:
    site, second = ONE_FILE[0].copy(), ONE_FILE[1].copy()
    own = layout(site, second)
    assert own.allow_migrate("default", "circuits") is True
    second["NAME"] = "test_circuits.sqlite3"
    assert own.allow_migrate("default", "circuits") is True
