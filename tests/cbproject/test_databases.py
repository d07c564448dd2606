from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from cbproject.databases import circuits_database, is_sqlite, site_database


def test_sqlite_gets_its_folder_and_wal(tmp_path: Path) -> None:
    config = site_database(f"sqlite:///{tmp_path}/new/site.sqlite3")
    assert (tmp_path / "new").is_dir()
    assert "journal_mode=WAL" in config["OPTIONS"]["init_command"]


def test_only_the_circuits_begin_with_the_write_lock(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.sqlite3"
    assert circuits_database(url)["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert "transaction_mode" not in site_database(url)["OPTIONS"]


def test_only_the_site_wraps_requests_in_transactions() -> None:
    url = "postgres://site@db.test/shop"
    assert site_database(url)["ATOMIC_REQUESTS"] is True
    assert circuits_database(url).get("ATOMIC_REQUESTS", False) is False


def test_the_circuits_wait_briefly_for_postgresql() -> None:
    config = circuits_database("postgres://site@db.test/shop")
    config["OPTIONS"].pop("cursor_factory", None)  # where the driver is installed
    assert config["OPTIONS"] == {
        "connect_timeout": 3,
        "options": "-c statement_timeout=5000 -c synchronous_commit=off",
        "server_side_binding": True,
        "prepare_threshold": 5,
    }
    assert config["CONN_HEALTH_CHECKS"] is True


def test_the_circuits_give_up_a_silent_postgresql_and_the_site_does_not() -> None:
    pytest.importorskip("psycopg")
    url = "postgres://site@db.test/shop"
    assert "cursor_factory" in circuits_database(url)["OPTIONS"]
    assert "cursor_factory" not in site_database(url)["OPTIONS"]


def test_the_circuits_wait_briefly_for_mariadb() -> None:
    options = circuits_database("mysql://site@db.test/shop")["OPTIONS"]
    assert options["charset"] == "utf8mb4"
    assert (options["connect_timeout"], options["read_timeout"]) == (3, 7)


def test_what_the_url_says_wins() -> None:
    config = site_database("postgres://site@db.test/shop?conn_max_age=0&connect_timeout=9")
    assert config["CONN_MAX_AGE"] == 0
    assert config["OPTIONS"]["connect_timeout"] == 9


def test_what_the_url_says_wins_for_the_circuits_too() -> None:
    config = circuits_database("postgres://site@db.test/shop?options=-c%20statement_timeout%3D900")
    assert config["OPTIONS"]["options"] == "-c statement_timeout=900"


@pytest.mark.parametrize(
    ("url", "expected"), [("sqlite:////tmp/x", True), ("postgres://db.test/x", False)]
)
def test_is_sqlite(url: str, expected: bool) -> None:
    assert is_sqlite(url) is expected


def test_an_unknown_kind_of_url_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="not redmud://"):
        site_database("redmud://db.test/x")
