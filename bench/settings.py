"""Django's settings for the benchmarks: the app alone, on each of the databases it supports.

They are set up as the reference project sets up the circuits' own connection.
"""

import atexit
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from cbproject.databases import circuits_database
from tests import services

from .naming import RUN

SECRET_KEY = "only-for-benchmarks"
INSTALLED_APPS = ["circuits"]
DATABASE_ROUTERS = ["circuits.routers.CircuitsRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True


def _on_server(service: str) -> str:
    return urlunsplit(urlsplit(services.url(service))._replace(path=f"/{RUN}"))


# A folder that the process above made is kept: its children share the files in it.
if "BENCH_DIR" not in os.environ:
    os.environ["BENCH_DIR"] = tempfile.mkdtemp(prefix="circuits-bench-")
    atexit.register(shutil.rmtree, os.environ["BENCH_DIR"], ignore_errors=True)

_file = Path(os.environ["BENCH_DIR"]) / "circuits.sqlite3"

DATABASES = {
    # The circuits are on one of the others, so nothing may end up here.
    "default": {},
    "sqlite": circuits_database(f"sqlite:///{_file}"),
}
# Without the drivers what needs no server can still be measured.
if find_spec("psycopg"):
    DATABASES["postgres"] = circuits_database(_on_server("PostgreSQL"))
if find_spec("MySQLdb"):
    DATABASES["mariadb"] = circuits_database(_on_server("MariaDB"))
# Beside some of them, one of the same kind for very many circuits.
for _alias in {"sqlite", "postgres"} & DATABASES.keys():
    DATABASES[f"{_alias}_large"] = {
        **DATABASES[_alias],
        "NAME": f"{DATABASES[_alias]['NAME']}_large",
    }
for _database in DATABASES.values():
    if _database:
        # Made and dropped by Django's own test set-up, under the very name that is used.
        _database["TEST"] = {"NAME": str(_database["NAME"]), "DEPENDENCIES": []}

CIRCUITS = {"DATABASE": "sqlite", "OPENTELEMETRY": False}

# A change of state is logged, and a refused one is what some cases are about.
LOGGING = {"version": 1, "disable_existing_loggers": False, "root": {"level": "ERROR"}}
LOGGING["loggers"] = {"circuits": {"level": "ERROR"}}
