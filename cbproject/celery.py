"""The Celery application: worker and beat both start from here."""

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
    """Being connected is enough: Celery then leaves the LOGGING of the settings in place."""
