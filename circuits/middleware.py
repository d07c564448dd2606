"""Tells a site's visitors when a circuit is open: 503 with Retry-After."""

from __future__ import annotations

import json
import logging
from math import ceil
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.deprecation import MiddlewareMixin
from django.utils.html import escape
from django.utils.translation import ngettext

from .exceptions import CircuitOpenError

logger = logging.getLogger("circuits")

#: The page for browsers; a site's own template of this name wins.
TEMPLATE: Final = "circuits/unavailable.html"

#: What the answer can be, the one for who does not mind first.
TYPES: Final = ("text/plain", "text/html", "application/json")


class CircuitOpenMiddleware(MiddlewareMixin):
    """Answers 503 with ``Retry-After`` when a view lets a :class:`CircuitOpenError` out.

    A browser gets a page, the template ``circuits/unavailable.html``; who asks for JSON gets JSON.
    The circuit's name stays inside: it is nothing for visitors.
    """

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Translate a refusal; leave any other exception alone."""
        if not isinstance(exception, CircuitOpenError):
            return None
        seconds = max(1, ceil(exception.retry_after))
        kind = request.get_preferred_type(TYPES) or TYPES[0]
        return HttpResponse(
            _body(kind, _sentence(seconds), seconds),
            status=503,
            content_type=f"{kind}; charset=utf-8",
            headers={"Retry-After": str(seconds), "Cache-Control": "no-store", "Vary": "Accept"},
        )


def _sentence(seconds: int) -> str:
    return ngettext(
        "This service is not available for the moment. Try again in %(seconds)d second.",
        "This service is not available for the moment. Try again in %(seconds)d seconds.",
        seconds,
    ) % {"seconds": seconds}


def _body(kind: str, sentence: str, seconds: int) -> str:
    if kind == "application/json":
        return json.dumps({"detail": sentence, "retry_after": seconds})
    if kind == "text/html":
        return _page(sentence, seconds)
    return sentence


def _page(sentence: str, seconds: int) -> str:
    """Render the page, without the request: a context processor might call what is down."""
    context = {"sentence": sentence, "retry_after": seconds}
    try:
        return render_to_string(TEMPLATE, context)
    except Exception:
        # A broken template of the site must not turn "try again" into an error.
        logger.exception("Could not render %s.", TEMPLATE)
        return escape(sentence)
