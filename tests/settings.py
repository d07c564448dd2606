"""Settings for the tests: the reference project's, on the database that TEST_DATABASE names.

TEST_DATABASE is sqlite (the default, no server needed), postgres or mariadb.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from tests import services

TEST_DATABASE = os.environ.setdefault("TEST_DATABASE", "sqlite")

# The suite must run alike everywhere, so nothing of the developer's own set-up may reach it. A
# folder that the process above made is kept: workers and child processes share its files.
for name in (
    "DATABASE_URL",
    "CIRCUITS_DATABASE_URL",
    "CIRCUITS_HEALTH_TOKEN",
    "CIRCUITS_OPENTELEMETRY",
    "CIRCUITS_PROBE_HOSTS",
    "CIRCUITS_PROMETHEUS",
    "CIRCUITS_SITE_URL",
    "CELERY_BROKER_URL",
    "REMOTE_URL",
):
    os.environ.pop(name, None)
os.environ["DJANGO_ENV_FILE"] = os.devnull
os.environ["DJANGO_DEBUG"] = "true"
os.environ["DJANGO_SECRET_KEY"] = "only-for-tests"
if "TEST_VAR_DIR" not in os.environ:
    os.environ["TEST_VAR_DIR"] = tempfile.mkdtemp(prefix="circuits-tests-")
    atexit.register(shutil.rmtree, os.environ["TEST_VAR_DIR"], ignore_errors=True)
os.environ["VAR_DIR"] = os.environ["TEST_VAR_DIR"]
if TEST_DATABASE != "sqlite":
    servers = {"postgres": "PostgreSQL", "mariadb": "MariaDB"}
    os.environ["DATABASE_URL"] = services.url(servers[TEST_DATABASE])

from cbproject.settings import *  # noqa: E402, F403
from cbproject.settings import CIRCUITS, DATABASES, VAR_DIR  # noqa: E402

if TEST_DATABASE == "sqlite":
    # Files, not memory: several threads and processes share them.
    for alias, database in DATABASES.items():
        database["TEST"] = {"NAME": str(Path(VAR_DIR) / f"test_{alias}.sqlite3")}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Tests that want a flush call it.
CIRCUITS["FLUSH_SECONDS"] = 3600

# Nothing is collected for a test run, so WhiteNoise must not expect its folder.
WHITENOISE_AUTOREFRESH = True

# By what mail is sent since Django 6.1, and tests get it; earlier versions do not know the setting.
MAILERS: dict[str, dict[str, str]] = {"default": {}}
