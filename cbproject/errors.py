"""Keeps secrets out of Django's error pages and mails."""

import re
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter

from circuits.redaction import redact


class Filter(SafeExceptionReporterFilter):
    """Hides this project's secrets, even while DEBUG is on.

    It hides settings with URLs that hold passwords, including those in the environment that
    `runserver` adds to a request, and redacts the variables of a traceback.
    """

    hidden_settings = re.compile(
        f"{SafeExceptionReporterFilter.hidden_settings.pattern}|DATABASE_URL|BROKER_URL|WEBHOOK",
        re.IGNORECASE,
    )

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> Any:
        found = super().get_traceback_frame_variables(request, tb_frame)
        return [(name, self._cleansed(name, value)) for name, value in found]

    def _cleansed(self, name: str, value: Any) -> Any:
        cleansed = self.cleanse_setting(name, value)
        return redact(cleansed) if isinstance(cleansed, str) else cleansed
