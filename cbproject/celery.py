"""The Celery application, from which both worker and beat start."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cbproject.settings")

TRANSPORT_ALIASES["filesystem"] = "cbproject.broker:Transport"

app = Celery("cbproject")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_django_logging(**kwargs: Any) -> None:
    """Do nothing: Celery keeps the settings' LOGGING because a receiver is connected."""
