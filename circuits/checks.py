"""System checks of the ``CIRCUITS`` setting and what it depends on; each hint names the fix."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error
from django.db import DEFAULT_DB_ALIAS, router
from django.db.models import Model

from . import conf
from .exceptions import InvalidInputError
from .hosts import check_probe_host
from .integrations import setup
from .routers import APP_LABEL, CircuitsRouter, is_forbidden
from .storage.identity import is_same_database

#: The number of characters from which a token is assumed to be unguessable.
TOKEN_LENGTH: Final = 32

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
        *check_tenants(),
        *check_prometheus(config.prometheus),
        *check_probe_hosts(config),
        *check_webhook(raw),
    ]


def check_deployment(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check what matters only in production, for ``check --deploy``."""
    raw = getattr(settings, "CIRCUITS", {})
    if any(conf.problems(raw)):
        return []  # check_settings reports it
    config = conf.load(raw)
    found: list[CheckMessage] = []
    if 0 < len(config.health_token) < TOKEN_LENGTH:
        found.append(
            checks.Warning(
                f"CIRCUITS['HEALTH_TOKEN'] has fewer than {TOKEN_LENGTH} characters, so it can be "
                "guessed.",
                hint="Take one from python -c 'import secrets; print(secrets.token_urlsafe(32))'.",
                id="circuits.W009",
            )
        )
    if config.allow_injection:
        found.append(
            checks.Warning(
                "CIRCUITS['ALLOW_INJECTION'] is on: whoever may operate a circuit can let its "
                "calls fail on purpose.",
                hint="Leave it out in production, unless you try out your fallbacks there.",
                id="circuits.W010",
            )
        )
    return found


def check_webhook(raw: Mapping[str, Any]) -> list[CheckMessage]:
    """Check that the webhook is set under the name that Django hides in error reports."""
    if not raw.get("NOTIFY", {}).get(conf.OLD_WEBHOOK):
        return []
    return [
        checks.Warning(
            "CIRCUITS['NOTIFY']['WEBHOOK'] is shown by Django's pages and mails about an error.",
            hint="Call it SECRET_WEBHOOK; they hide what has such a name.",
            id="circuits.W008",
        )
    ]


def check_database(alias: str) -> list[CheckMessage]:
    """Check that no transaction of the site can roll back outcomes written to the alias."""
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
    found += check_routing(alias)
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


def check_routing(alias: str) -> list[CheckMessage]:
    """Check that the site's routers send our models to the alias, whichever routers they are."""
    ours = list(apps.get_app_config(APP_LABEL).get_models())
    has_router = any(isinstance(each, CircuitsRouter) for each in router.routers)
    place = "Put {!r} first in DATABASE_ROUTERS." if has_router else "Add {!r} to DATABASE_ROUTERS."
    hint = place.format(ROUTER)
    elsewhere = _others(alias, map(router.db_for_write, ours))
    if elsewhere:
        message = f"The circuits are kept in the database {alias!r}, but the routers send them to "
        return [Error(f"{message}{elsewhere}.", hint=hint, id="circuits.E003")]
    found: list[CheckMessage] = []
    # Asked several times, since a router may choose among replicas at random.
    elsewhere = _others(alias, (router.db_for_read(model) for model in ours for _ in range(20)))
    if elsewhere:
        message = (
            f"The circuits are kept in the database {alias!r}, but the routers let them be read "
            f"from {elsewhere}: the admin, the commands and the health page may show what is no "
            "longer so, or nothing at all."
        )
        found.append(checks.Warning(message, hint=hint, id="circuits.W003"))
    if is_forbidden(alias):
        return found  # a test runs the checks, and may migrate nothing there
    if not _may_be_made(alias, ours):
        message = f"The routers let no one make the circuits' tables in the database {alias!r}."
        found.append(Error(message, hint=hint, id="circuits.E007"))
    return found


def _may_be_made(alias: str, models: Iterable[type[Model]]) -> bool:
    """Return whether the routers let ``migrate`` make the tables through one alias or another."""
    if _tenant_apps():
        return True  # their router answers differently for each tenant, whose migration this may be
    homes = {each for each in (alias, DEFAULT_DB_ALIAS) if is_same_database(each, alias)}
    return all(any(router.allow_migrate_model(home, each) for home in homes) for each in models)


def _others(alias: str, answers: Iterable[str | None]) -> str:
    return ", ".join(sorted({repr(answer) for answer in answers if answer != alias}))


def check_tenants() -> list[CheckMessage]:
    """Check that django-tenants makes the circuits' tables once, and not for each tenant."""
    if not any(str(app).partition(".")[0] == APP_LABEL for app in _tenant_apps()):
        return []
    return [
        checks.Warning(
            "The circuits are among the apps of the tenants: each gets tables of its own, while "
            "all processes share the circuits of one schema.",
            hint="Move 'circuits' to SHARED_APPS, or to the APPS of the public TENANT_TYPES.",
            id="circuits.W004",
        )
    ]


def _tenant_apps() -> list[str]:
    """Return the apps that django-tenants migrates for each tenant, from either of its settings."""
    types = getattr(settings, "TENANT_TYPES", {})
    public = getattr(settings, "PUBLIC_SCHEMA_NAME", "public")
    return [
        *getattr(settings, "TENANT_APPS", ()),
        *(app for name, each in types.items() if name != public for app in each.get("APPS", ())),
    ]


def check_prometheus(is_on: bool) -> list[CheckMessage]:
    """Check that metrics can be kept, if the settings ask for them."""
    if not is_on:
        return []
    if not setup.is_installed(setup.PROMETHEUS):
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
    """Check that the probe URLs in the settings lead to hosts that ``PROBE_HOSTS`` allows."""
    found: list[CheckMessage] = []
    for name, policy in config.circuits.items():
        if "probe_url" in policy:
            try:
                check_probe_host(policy["probe_url"])
            except InvalidInputError as error:
                message = f"CIRCUITS['CIRCUITS'][{name!r}]: {error}"
                found.append(Error(message, id="circuits.E006"))
    return found
