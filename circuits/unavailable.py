"""Answers 503 with ``Retry-After`` to a visitor whose page needs a call that a circuit refuses.

Django logs each 5xx response as an error, and its default logging mails errors to ``ADMINS``. In an
outage that would be one mail for each request. So these responses are marked as logged, and each
process logs one warning for each opening instead.
"""

from __future__ import annotations

import json
import logging
from math import ceil
from time import monotonic
from typing import Final, TypeVar

from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.utils.html import escape
from django.utils.translation import ngettext

from . import conf
from .exceptions import CircuitOpenError
from .process.runtime import opening_of

logger = logging.getLogger("circuits")

R = TypeVar("R", bound=HttpResponseBase)

#: The page for browsers; a site can override this template.
TEMPLATE: Final = "circuits/unavailable.html"

#: The content types to choose from, the default first.
TYPES: Final = ("text/plain", "text/html", "application/json")

#: Seconds between two log lines that the circuits' database cannot be read.
LOG_SECONDS: Final = 60.0

#: The opening that was last logged, by the circuit's name.
_noted: Final[dict[str, int | None]] = {}


def answer(request: HttpRequest, refusal: CircuitOpenError) -> HttpResponse:
    """Return the response to a request whose call was refused; log once for each opening.

    The middleware calls it. For a framework that keeps exceptions from middleware, call it in the
    framework's own handler of :class:`CircuitOpenError`.

    Args:
        request: The request, whose ``Accept`` header selects HTML, JSON or plain text.
        refusal: The refusal. The client learns only when to try again.
    """
    note(refusal)
    seconds = max(1, ceil(refusal.retry_after))
    kind = request.get_preferred_type(TYPES) or TYPES[0]
    response = HttpResponse(
        _body(kind, _sentence(seconds), seconds),
        status=503,
        content_type=f"{kind}; charset=utf-8",
        headers={"Retry-After": str(seconds), "Cache-Control": "no-store", "Vary": "Accept"},
    )
    return logged(response)


def note(refusal: CircuitOpenError) -> None:
    """Log a refusal that was answered, unless one of the same opening was logged already."""
    opening = opening_of(refusal.name)
    if refusal.name in _noted and _noted[refusal.name] == opening:
        return
    if len(_noted) >= conf.get().max_snapshots:
        _noted.clear()
    _noted[refusal.name] = opening
    logger.warning(
        "Requests that need %s are answered with 503, and not logged until it opens anew: %s. %s",
        refusal.name,
        refusal,
        refusal.standing.sentence(refusal.name),
    )


_unreadable_at = float("-inf")


def note_unreadable(error: Error) -> None:
    """Log once a minute that a page could not read the circuits' database."""
    global _unreadable_at
    now = monotonic()
    if now >= _unreadable_at + LOG_SECONDS:
        _unreadable_at = now
        # The driver's message may hold an address with a password.
        logger.warning("The circuits' database cannot be read (%s).", type(error).__name__)


def logged(response: R) -> R:
    """Keep Django from logging a response as an error of the site."""
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


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
    """Render the page without the request, since a context processor may call the same remote."""
    context = {"sentence": sentence, "retry_after": seconds}
    try:
        return render_to_string(TEMPLATE, context)
    except Exception:
        # A broken template of the site must not turn "try again" into an error.
        logger.exception("Could not render %s.", TEMPLATE)
        return escape(sentence)
