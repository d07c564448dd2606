"""A plugin of pytest that puts circuits under the sessions of requests and the clients of httpx.

It runs within another project's tests, where our own ``tests`` cannot be imported.
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

#: No circuit opens: its refusals would be right, but they are no behaviour of the library's.
NEVER = 1_000_000


def pytest_configure() -> None:
    """Set Django up with a fresh database, and replace what sends by default."""
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
    """Make each transport of a class of clients go through circuits, however it was made."""
    init = client.__init__

    def in_circuits(inner: Any) -> Any:
        return inner if inner is None else transport(inner)

    def with_circuits(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self._transport = in_circuits(self._transport)
        self._mounts = {pattern: in_circuits(inner) for pattern, inner in self._mounts.items()}

    client.__init__ = with_circuits
