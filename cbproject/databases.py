"""Turns a database URL into Django's settings, with what this project asks of each database."""

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
        # Readers and the writer do not block each other, and a commit need not wait for the disk:
        # a power cut may lose the last moments, never the file.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    },
    POSTGRESQL: {"connect_timeout": 3},
    MYSQL: {"connect_timeout": 3, "charset": "utf8mb4"},
}

# The settings that say where a database is.
PLACE = ("ENGINE", "HOST", "PORT", "NAME")

# A server that is well says after 5 seconds that it gave up; one that is silent for longer is taken
# for gone. Not sooner, or nobody would know whether a statement was done.
SILENCE_SECONDS = 7

# A breaker that waits long for its database is itself the slow dependency it should protect from.
# When the circuits' database does not answer soon, calls go on without it.
CIRCUITS_OPTIONS: dict[str, Config] = {
    # Takes the write lock at the start of a transaction: what was read cannot change before the
    # write, as with SELECT ... FOR UPDATE elsewhere.
    SQLITE: {"transaction_mode": "IMMEDIATE"},
    # Milliseconds; a wait for a row's lock counts too. PgBouncer refuses start-up options: behind
    # it, give an empty one in the URL and set statement_timeout on a role of the circuits' own.
    # A commit need not wait for the disk: a crash of the server may lose the last moments of the
    # circuits, never what is written whole.
    POSTGRESQL: {
        "options": "-c statement_timeout=5000 -c synchronous_commit=off",
        # The statements are few and always the same, so the server may keep their plans. A pooler
        # that does not know of prepared statements needs None.
        "server_side_binding": True,
        "prepare_threshold": 5,
    },
    # Seconds; the driver keeps the first two, so they hold on MariaDB and MySQL alike.
    MYSQL: {
        "read_timeout": SILENCE_SECONDS,
        "write_timeout": SILENCE_SECONDS,
        "init_command": "SET SESSION innodb_lock_wait_timeout = 5",
    },
}


def site_database(url: str) -> Config:
    """The site's own database: every request is one transaction."""
    # SQLite begins that transaction DEFERRED, as is Django's default: an IMMEDIATE one would hold
    # the only write lock for as long as the request runs, a slow remote call included.
    config = _parse(url)
    return {**_connection(config, OPTIONS[config["ENGINE"]]), "ATOMIC_REQUESTS": True}


def circuits_database(url: str) -> Config:
    """A connection of the circuits' own, so that no outcome is rolled back with a request."""
    config = _parse(url)
    engine = config["ENGINE"]
    options = {**OPTIONS[engine], **CIRCUITS_OPTIONS[engine]}
    if engine == POSTGRESQL and find_spec("psycopg"):  # without it Django says what is missing
        from circuits.postgresql import cursor_within

        options["cursor_factory"] = cursor_within(SILENCE_SECONDS)
    return _connection(config, options)


def is_one_server_database(first: str, second: str) -> bool:
    """Whether two URLs name one database of one server, whatever their users and options."""
    places = [[_parse(url).get(key) for key in PLACE] for url in (first, second)]
    return places[0] == places[1] and not is_sqlite(first)


def is_sqlite(url: str) -> bool:
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
    """The settings of a connection; what the URL says wins over our own."""
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
