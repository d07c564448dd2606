"""Sets the mail backend of a test, whose setting has another name since Django 6.1."""

from __future__ import annotations

from typing import Final

import django
from pytest_django import Settings

#: Keeps mails in ``django.core.mail.outbox``.
LOCMEM: Final = "django.core.mail.backends.locmem.EmailBackend"


def set_backend(settings: Settings, backend: str = LOCMEM) -> None:
    """Send mail through a backend until the test ends."""
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": backend}}
    else:
        settings.EMAIL_BACKEND = backend
