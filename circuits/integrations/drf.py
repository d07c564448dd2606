"""Refusals that are errors of Django REST framework. Imported only if that is installed."""

from __future__ import annotations

from math import ceil
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException, ErrorDetail

from ..exceptions import CircuitBusyError, CircuitOpenError
from ..process import gate


class CircuitOpenAPIError(CircuitOpenError, APIException):  # type: ignore[misc]
    """A refusal that a view of the framework answers with 503 and ``Retry-After``.

    The circuit's name is not sent, since it is of no use to clients.
    """

    __module__ = "circuits"  # where it is found without this module, see there

    status_code = 503
    default_code = "service_unavailable"

    @property
    def wait(self) -> int:
        """Return the seconds for the ``Retry-After`` that the framework's handler sends."""
        return max(1, ceil(self.retry_after))

    @property
    def detail(self) -> Any:
        """The text that the client receives."""
        detail = ErrorDetail(_("This service is not available for the moment."), self.default_code)
        # The middleware recognises the framework's response by this attribute.
        detail.refusal = self
        return detail


class CircuitBusyAPIError(CircuitBusyError, CircuitOpenAPIError):
    """A refusal because of ``max_concurrent``, as an error of the framework."""

    __module__ = "circuits"


def connect() -> None:
    """Make circuits raise these classes for refusals."""
    gate.refusals.update(open=CircuitOpenAPIError, busy=CircuitBusyAPIError)
