"""Settings of the reference project, read from environment variables.

For development, the file `.env` beside `manage.py` holds them; `make setup` writes it. A real
environment variable wins over the file. In production set at least DJANGO_SECRET_KEY and
DJANGO_ALLOWED_HOSTS.
"""

import os
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from cbproject import broker
from cbproject.databases import (
    circuits_database,
    is_one_server_database,
    is_sqlite,
    site_database,
)
from cbproject.private import private_folder

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
env_file = Path(os.environ.get("DJANGO_ENV_FILE", BASE_DIR / ".env"))
if env_file.is_file():
    env.read_env(env_file)

# Everything that the project writes goes here: databases, broker folders, collected static files.
VAR_DIR = private_folder(Path(env.str("VAR_DIR", default=str(BASE_DIR / "var"))).resolve())


# Core

DEBUG: bool = env.bool("DJANGO_DEBUG", default=False)

SECRET_KEY: str = env.str("DJANGO_SECRET_KEY", default="")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "Set the environment variable DJANGO_SECRET_KEY to a long random text of your own "
        "(for development, `make setup` writes one to .env)."
    )

ALLOWED_HOSTS: list[str] = env.list(
    "DJANGO_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if DEBUG else []
)
CSRF_TRUSTED_ORIGINS: list[str] = env.list("DJANGO_CSRF_TRUSTED_ORIGINS", default=[])

# Serves the mock remote service. It is made to be slow and to fail, so keep it off public sites.
MOCKAPI_ENABLED: bool = env.bool("MOCKAPI_ENABLED", default=DEBUG)

# Serves the example views. Any visitor can make them call the remote, so keep them off public
# sites.
EXAMPLES_ENABLED: bool = env.bool("EXAMPLES_ENABLED", default=DEBUG)

# The remote service that the example views call.
REMOTE_URL: str = env.str("REMOTE_URL", default="http://127.0.0.1:5000").rstrip("/")

INSTALLED_APPS = [
    "cbproject",
    "circuits",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
]
if MOCKAPI_ENABLED:
    INSTALLED_APPS.append("mockapi")

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "circuits.middleware.CircuitOpenMiddleware",
]

ROOT_URLCONF = "cbproject.urls"
WSGI_APPLICATION = "cbproject.wsgi.application"
ASGI_APPLICATION = "cbproject.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{validator}"}
    for validator in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]


# Databases: the site's own, and a separate connection for the circuits

# The names are in lower case to keep these URLs out of the settings. Error pages and mails show all
# settings, and would not recognize the password in a URL as they recognize that in DATABASES.
database_url: str = env.str("DATABASE_URL", default=f"sqlite:///{VAR_DIR}/db.sqlite3")
circuits_database_url: str = env.str(
    "CIRCUITS_DATABASE_URL",
    # An SQLite file allows one writer at a time, so the circuits get a file of their own. On a
    # database server they get a second connection to the same database.
    default=f"sqlite:///{VAR_DIR}/circuits.sqlite3" if is_sqlite(database_url) else database_url,
)

DATABASES = {
    "default": site_database(database_url),
    "circuits": circuits_database(circuits_database_url),
}
if is_one_server_database(database_url, circuits_database_url):
    # In tests both aliases share one database, whose fixtures are loaded once.
    DATABASES["circuits"]["TEST"] = {"MIRROR": "default"}
DATABASE_ROUTERS = ["circuits.routers.CircuitsRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CIRCUITS: dict[str, Any] = {
    "DATABASE": "circuits",
    "PROMETHEUS": env.bool("CIRCUITS_PROMETHEUS", default=False),
    # Off by default: it is installed for the tests, not because every call should be traced.
    "OPENTELEMETRY": env.bool("CIRCUITS_OPENTELEMETRY", default=False),
    "HEALTH_TOKEN": env.str("CIRCUITS_HEALTH_TOKEN", default=""),
    # For staging: lets those who may operate a circuit inject faults into its calls.
    "ALLOW_INJECTION": env.bool("CIRCUITS_ALLOW_INJECTION", default=False),
    # The address of the site, for links to the admin in mails and logs.
    "SITE_URL": env.str("CIRCUITS_SITE_URL", default=""),
    # Probes may call any public host, and the mock on this machine.
    "PROBE_HOSTS": env.list(
        "CIRCUITS_PROBE_HOSTS",
        default=["*", "127.0.0.1", "localhost"] if MOCKAPI_ENABLED else ["*"],
    ),
}


# Celery: by default its messages are files in a folder, so that no server is needed

# The setting never holds a password: Celery itself reads CELERY_BROKER_URL from the environment,
# which takes precedence over the setting.
CELERY_BROKER_URL = broker.URL
broker_url: str = env.str("CELERY_BROKER_URL", default="") or broker.URL
CELERY_BROKER_TRANSPORT_OPTIONS = broker.transport_options(broker_url, VAR_DIR / "broker")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "celerybeat-schedule")
CELERY_BEAT_SCHEDULE = {
    "half-open-expired-circuits": {
        "task": "circuits.tasks.half_open_expired",
        "schedule": 1.0,
        # A message that no worker takes in time is dropped; the next one does the same work.
        "options": {"expires": 2.0},
    },
    "tell-of-circuits": {
        "task": "circuits.tasks.notify",
        "schedule": 5.0,
        "options": {"expires": 30.0},
    },
    "prune-circuits": {
        "task": "circuits.tasks.prune",
        "schedule": 3600.0,
        "options": {"expires": 1800.0},
    },
}


# Languages and time

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("nl", _("Dutch"))]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"


# Static files: collected into one folder and served by WhiteNoise

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage",
    },
}


# Security: strict unless DEBUG is on

SECURE_SSL_REDIRECT: bool = env.bool("DJANGO_SECURE_SSL_REDIRECT", default=not DEBUG)
SECURE_HSTS_SECONDS: int = env.int("DJANGO_HSTS_SECONDS", default=0 if DEBUG else 3600)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE_HSTS_SECONDS > 0
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
X_FRAME_OPTIONS = "DENY"
DEFAULT_EXCEPTION_REPORTER_FILTER = "cbproject.errors.Filter"
# Only behind a proxy that sets this header itself; otherwise any client could claim to use HTTPS.
if env.bool("DJANGO_BEHIND_TLS_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")


# Logging

LOG_LEVEL: str = env.str("DJANGO_LOG_LEVEL", default="INFO").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    # Celery logs every task that it receives, which is one a second here; its warnings are enough.
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {name: {"level": LOG_LEVEL} for name in ("circuits", "cbproject", "django")},
}
