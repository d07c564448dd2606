"""Refusals as Django REST framework knows them. Imported only where it is installed."""

from __future__ import annotations

from math import ceil
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException, ErrorDetail

from . import gate
from .exceptions import CircuitBusyError, CircuitOpenError


class CircuitOpenAPIError(CircuitOpenError, APIException):  # type: ignore[misc]
    """A refusal that a view of the framework answers with 503 and ``Retry-After``.

    The circuit's name stays inside: it is nothing for clients.
    """

    status_code = 503
    default_code = "service_unavailable"

    @property
    def wait(self) -> int:
        """Seconds for the ``Retry-After`` that the framework's exception handler sends."""
        return max(1, ceil(self.retry_after))

    @property
    def detail(self) -> Any:
        """What the client is told."""
        return ErrorDetail(_("This service is not available for the moment."), self.default_code)


class CircuitBusyAPIError(CircuitBusyError, CircuitOpenAPIError):
    """The same for a refusal because of too many calls at once."""


def connect() -> None:
    """Let circuits refuse with these classes."""
    gate.refusals.update(open=CircuitOpenAPIError, busy=CircuitBusyAPIError)
