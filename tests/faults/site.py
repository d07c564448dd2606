"""The reference project on the databases of the test, as real servers load it."""

from __future__ import annotations

import os
from contextlib import suppress

from django.conf import settings

from tests.worker import set_up

set_up()
settings.REMOTE_URL = os.environ["TEST_REMOTE_URL"]

from celery import shared_task  # noqa: E402

import circuits  # noqa: E402
from cbproject.asgi import application as asgi  # noqa: E402
from cbproject.celery import app as celery  # noqa: E402
from cbproject.wsgi import application as wsgi  # noqa: E402

__all__ = ["asgi", "celery", "wsgi"]


@shared_task(name="tests.call", ignore_result=True)
def call(name: str, url: str) -> None:
    """Call a URL through a circuit."""
    with suppress(circuits.RemoteCallFailedException):
        circuits.call(name, url)
