"""Django's settings for the benchmarks: the app alone, on each database that it supports.

The connections are those that the reference project gives to its circuits.
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


# Child processes use the folder that their parent made, to share the files in it.
if "BENCH_DIR" not in os.environ:
    os.environ["BENCH_DIR"] = tempfile.mkdtemp(prefix="circuits-bench-")
    atexit.register(shutil.rmtree, os.environ["BENCH_DIR"], ignore_errors=True)

_file = Path(os.environ["BENCH_DIR"]) / "circuits.sqlite3"

DATABASES = {
    # The circuits are on one of the others; anything sent here is an error.
    "default": {},
    "sqlite": circuits_database(f"sqlite:///{_file}"),
}
# Without the drivers, the cases that need no server can still be measured.
if find_spec("psycopg"):
    DATABASES["postgres"] = circuits_database(_on_server("PostgreSQL"))
if find_spec("MySQLdb"):
    DATABASES["mariadb"] = circuits_database(_on_server("MariaDB"))
# Two of them get a second database of the same kind, for very many circuits.
for _alias in {"sqlite", "postgres"} & DATABASES.keys():
    DATABASES[f"{_alias}_large"] = {
        **DATABASES[_alias],
        "NAME": f"{DATABASES[_alias]['NAME']}_large",
    }
for _database in DATABASES.values():
    if _database:
        # Django's test set-up makes and drops the database under the name that is used.
        _database["TEST"] = {"NAME": str(_database["NAME"]), "DEPENDENCIES": []}

CIRCUITS = {"DATABASE": "sqlite", "OPENTELEMETRY": False}

# Only errors are logged, since some cases change states all the time.
LOGGING = {"version": 1, "disable_existing_loggers": False, "root": {"level": "ERROR"}}
LOGGING["loggers"] = {"circuits": {"level": "ERROR"}}
