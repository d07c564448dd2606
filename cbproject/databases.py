"""Turns a database URL into Django's settings, with the options that this project needs."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from cbproject.private import private_file, private_folder

Config = dict[str, Any]

SQLITE = "django.db.backends.sqlite3"
POSTGRESQL = "django.db.backends.postgresql"
MYSQL = "django.db.backends.mysql"

OPTIONS: dict[str, Config] = {
    SQLITE: {
        "timeout": 5,  # seconds to wait for the one writer
        # With WAL, readers and the writer do not block each other. With NORMAL, a commit does not
        # wait for the disk: a power cut may lose the last moments, never the file.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    },
    POSTGRESQL: {"connect_timeout": 3},
    MYSQL: {"connect_timeout": 3, "charset": "utf8mb4"},
}

# The settings that identify a database.
PLACE = ("ENGINE", "HOST", "PORT", "NAME")

# A healthy server reports after 5 seconds that it gave up. One that is silent for longer counts as
# gone; counting it earlier would leave open whether a statement was executed.
SILENCE_SECONDS = 7

# A breaker that waits long for its database would itself be the slow dependency that it protects
# from. When the circuits' database does not answer soon, calls go on without it.
CIRCUITS_OPTIONS: dict[str, Config] = {
    # A transaction takes the write lock when it starts, so that what it reads cannot change before
    # it writes, as with SELECT ... FOR UPDATE on other databases.
    SQLITE: {"transaction_mode": "IMMEDIATE"},
    # The timeout is in milliseconds, and includes waiting for a row's lock. PgBouncer refuses
    # start-up options: behind it, give empty options in the URL and set statement_timeout on a
    # role that only the circuits use. With synchronous_commit=off a commit does not wait for the
    # disk: a crash of the server may lose the last moments, but never corrupts what is written.
    POSTGRESQL: {
        "options": "-c statement_timeout=5000 -c synchronous_commit=off",
        # The statements are few and always the same, so the server may keep their plans. A pooler
        # that does not support prepared statements needs a prepare_threshold of None.
        "server_side_binding": True,
        "prepare_threshold": 5,
    },
    # In seconds. The driver enforces the first two, so they work on MariaDB and MySQL alike.
    MYSQL: {
        "read_timeout": SILENCE_SECONDS,
        "write_timeout": SILENCE_SECONDS,
        "init_command": "SET SESSION innodb_lock_wait_timeout = 5",
    },
}


def site_database(url: str) -> Config:
    """Return the settings of the site's own database, on which each request is a transaction."""
    # SQLite begins that transaction DEFERRED, which is Django's default. An IMMEDIATE one would
    # hold the only write lock for the whole request, including a slow remote call.
    config = _parse(url)
    return {**_connection(config, OPTIONS[config["ENGINE"]]), "ATOMIC_REQUESTS": True}


def circuits_database(url: str) -> Config:
    """Return the settings of the circuits' connection.

    It is separate from the site's, so that no outcome is rolled back with a request.
    """
    config = _parse(url)
    engine = config["ENGINE"]
    options = {**OPTIONS[engine], **CIRCUITS_OPTIONS[engine]}
    if engine == POSTGRESQL and find_spec("psycopg"):  # if it is missing, Django says so later
        from circuits.postgresql import cursor_within

        options["cursor_factory"] = cursor_within(SILENCE_SECONDS)
    return _connection(config, options)


def is_one_server_database(first: str, second: str) -> bool:
    """Return whether two URLs name the same database of a server, whatever their users are."""
    places = [[_parse(url).get(key) for key in PLACE] for url in (first, second)]
    return places[0] == places[1] and not is_sqlite(first)


def is_sqlite(url: str) -> bool:
    """Return whether a URL names an SQLite database."""
    return bool(_parse(url)["ENGINE"] == SQLITE)


def _parse(url: str) -> Config:
    config: Config = environ.Env.db_url_config(url)
    if config["ENGINE"] not in OPTIONS:
        raise ImproperlyConfigured(
            "A database URL begins with sqlite://, postgres:// or mysql:// (for MariaDB too), "
            f"not {url.partition(':')[0]}://."
        )
    return config


def _connection(config: Config, options: Config) -> Config:
    """Return the settings of a connection; options in the URL override the given ones."""
    if config["ENGINE"] == SQLITE:
        _make_private(config["NAME"])
        kept_open: Config = {}
    else:
        kept_open = {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
    return {**kept_open, **config, "OPTIONS": {**options, **config.get("OPTIONS", {})}}


def _make_private(file: str) -> None:
    if file != ":memory:":
        path = Path(file)
        if not path.parent.exists():
            private_folder(path.parent)
        private_file(path)
