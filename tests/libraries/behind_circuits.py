"""A pytest plugin that puts circuits under the sessions of requests and the clients of httpx.

It runs in another project's tests, in which our own ``tests`` package cannot be imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
import httpx
import requests.sessions
from django.conf import settings
from django.core.management import call_command

FOLDER = Path(os.environ["LIBRARIES_FOLDER"])

#: A threshold at which no circuit opens, since its refusals would fail the library's tests.
NEVER = 1_000_000


def pytest_configure() -> None:
    """Set Django up with a fresh database, and put circuits under sessions and clients."""
    settings.configure(
        INSTALLED_APPS=["circuits"],
        DATABASES={
            alias: {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": FOLDER / f"{alias}.sqlite3",
                "OPTIONS": {
                    "transaction_mode": "IMMEDIATE",
                    "init_command": "PRAGMA journal_mode=WAL",
                },
            }
            for alias in ("default", "circuits")
        },
        DATABASE_ROUTERS=["circuits.routers.CircuitsRouter"],
        CIRCUITS={"DATABASE": "circuits", "DEFAULTS": {"threshold": NEVER}},
        USE_TZ=True,
        SECRET_KEY="only-for-tests",
    )
    django.setup()
    for alias in ("default", "circuits"):
        call_command("migrate", database=alias, verbosity=0)

    from circuits import AsyncCircuitTransport, CircuitAdapter, CircuitTransport

    sessions: Any = requests.sessions
    sessions.HTTPAdapter = CircuitAdapter
    wrap(httpx.Client, CircuitTransport)
    wrap(httpx.AsyncClient, AsyncCircuitTransport)


def wrap(client: Any, transport: Callable[..., Any]) -> None:
    """Wrap every transport of a class of clients in circuits, however it was made."""
    init = client.__init__

    def in_circuits(inner: Any) -> Any:
        return inner if inner is None else transport(inner)

    def with_circuits(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self._transport = in_circuits(self._transport)
        self._mounts = {pattern: in_circuits(inner) for pattern, inner in self._mounts.items()}

    client.__init__ = with_circuits
