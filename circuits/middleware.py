"""Tells a site's visitors when a circuit is open: 503 with Retry-After."""

from __future__ import annotations

from math import ceil

from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin
from django.utils.translation import ngettext

from .exceptions import CircuitOpenError


class CircuitOpenMiddleware(MiddlewareMixin):
    """Answers 503 with ``Retry-After`` when a view lets a :class:`CircuitOpenError` out.

    The circuit's name stays inside: it is nothing for visitors.
    """

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Translate a refusal; leave any other exception alone."""
        if not isinstance(exception, CircuitOpenError):
            return None
        seconds = max(1, ceil(exception.retry_after))
        sentence = ngettext(
            "This service is not available for the moment. Try again in %(seconds)d second.",
            "This service is not available for the moment. Try again in %(seconds)d seconds.",
            seconds,
        ) % {"seconds": seconds}
        return HttpResponse(
            sentence,
            status=503,
            content_type="text/plain; charset=utf-8",
            headers={"Retry-After": str(seconds), "Cache-Control": "no-store"},
        )
