"""Django's settings for the site, which keeps its own data and its circuits on PostgreSQL."""

import os

from bench.settings import DATABASES as BENCH
from bench.site.contenders import CONTENDERS

SECRET_KEY = "only-for-benchmarks"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["circuits"]
ROOT_URLCONF = "bench.site.pages"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

DATABASES = {"default": BENCH["postgres"], "circuits": {**BENCH["postgres"]}}
DATABASE_ROUTERS = ["circuits.routers.CircuitsRouter"]
CIRCUITS = {
    "DATABASE": "circuits",
    "OPENTELEMETRY": False,
    "DEFAULTS": CONTENDERS[os.environ["BENCH_CONTENDER"]].policy,
}

LOGGING = {"version": 1, "disable_existing_loggers": False, "root": {"level": "CRITICAL"}}
LOGGING["loggers"] = {name: {"level": "CRITICAL"} for name in ("circuits", "django.request")}
