"""System checks: what is wrong with a site's settings for circuits, each with the fix."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error

from . import conf, extras
from .exceptions import InvalidInputError
from .hosts import check_probe_host

ROUTER = "circuits.routers.CircuitsRouter"


def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check the ``CIRCUITS`` setting, and the database alias it names."""
    raw = getattr(settings, "CIRCUITS", {})
    errors: list[CheckMessage] = [
        Error(problem, id="circuits.E001") for problem in conf.problems(raw)
    ]
    if errors:
        return errors
    config = conf.load(raw)
    return [
        *check_database(config.database),
        *check_prometheus(config.prometheus),
        *check_probe_hosts(config),
    ]


def check_database(alias: str) -> list[CheckMessage]:
    """Check that outcomes written to the alias cannot be lost with somebody's transaction."""
    options = settings.DATABASES[alias]
    found: list[CheckMessage] = []
    if options.get("ATOMIC_REQUESTS"):
        found.append(
            Error(
                f"The database {alias!r} keeps the circuits and has ATOMIC_REQUESTS: a failed "
                "request would take its outcomes back and hold the circuit's lock meanwhile.",
                hint=f"Leave ATOMIC_REQUESTS out of DATABASES[{alias!r}].",
                id="circuits.E002",
            )
        )
    if alias == "default":
        found.append(
            checks.Warning(
                "The circuits share the database alias 'default' with the site: an outcome "
                "recorded inside a transaction is lost when it is rolled back.",
                hint="Give them an alias of their own, CIRCUITS = {'DATABASE': 'circuits'}; it "
                "may be a second connection to the same server.",
                id="circuits.W001",
            )
        )
    elif ROUTER not in settings.DATABASE_ROUTERS:
        found.append(
            Error(
                f"The circuits are kept in the database {alias!r}, but nothing routes them there.",
                hint=f"Add {ROUTER!r} to DATABASE_ROUTERS.",
                id="circuits.E003",
            )
        )
    is_sqlite = options["ENGINE"].endswith("sqlite3")
    if is_sqlite and options.get("OPTIONS", {}).get("transaction_mode") != "IMMEDIATE":
        found.append(
            checks.Warning(
                f"The database {alias!r} keeps the circuits in SQLite without IMMEDIATE "
                "transactions: two processes that change a circuit at once can fail.",
                hint=f"Set DATABASES[{alias!r}]['OPTIONS']['transaction_mode'] = 'IMMEDIATE'.",
                id="circuits.W002",
            )
        )
    return found


def check_prometheus(is_on: bool) -> list[CheckMessage]:
    """Check that metrics which are asked for can be kept."""
    if not is_on:
        return []
    if not extras.is_installed(extras.PROMETHEUS):
        return [
            Error(
                "CIRCUITS['PROMETHEUS'] is on, but prometheus_client is not installed.",
                hint="Run pip install 'django-circuits[prometheus]', or turn it off.",
                id="circuits.E004",
            )
        ]
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is None or Path(folder).is_dir():
        return []
    return [
        Error(
            f"PROMETHEUS_MULTIPROC_DIR names {folder!r}, which is not a folder.",
            hint="Make it, empty, before the processes start; or take the variable away.",
            id="circuits.E005",
        )
    ]


def check_probe_hosts(config: conf.Config) -> list[CheckMessage]:
    """Check that the probe URLs of the settings lead to hosts that the settings allow."""
    found: list[CheckMessage] = []
    for name, policy in config.circuits.items():
        if "probe_url" in policy:
            try:
                check_probe_host(policy["probe_url"])
            except InvalidInputError as error:
                message = f"CIRCUITS['CIRCUITS'][{name!r}]: {error}"
                found.append(Error(message, id="circuits.E006"))
    return found
