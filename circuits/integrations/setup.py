"""Connects the integrations that the settings ask for and that are installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from .. import conf
from ..conf import Config

PROMETHEUS: Final = "prometheus_client"
OPENTELEMETRY: Final = "opentelemetry.trace"
SENTRY: Final = "sentry_sdk"


def is_installed(module: str) -> bool:
    """Return whether the module could be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its package is missing
        return False


def counts(config: Config) -> bool:
    """Return whether calls are counted for Prometheus."""
    return config.prometheus and is_installed(PROMETHEUS)


def traces(config: Config) -> bool:
    """Return whether calls are reported to OpenTelemetry."""
    return config.opentelemetry and is_installed(OPENTELEMETRY)


def connect() -> None:
    """Connect the integrations. Those that are off cost nothing and are not imported."""
    try:
        # Not `conf.get`, which would keep settings that may still change during the start.
        config = conf.load(getattr(settings, "CIRCUITS", {}))
    except ImproperlyConfigured:
        return  # the system checks report what is wrong
    if counts(config):
        from . import metrics

        metrics.connect()
    if traces(config):
        from . import otel

        otel.connect()
    if config.sentry and is_installed(SENTRY):
        from . import sentry

        sentry.connect(issues=config.sentry_issues)
    if apps.is_installed("rest_framework"):
        from . import drf

        drf.connect()
