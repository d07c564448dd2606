"""The pages for monitoring, and who may read them: staff, and whoever bears the health token."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import Error
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from . import conf, extras
from .health import report

View = Callable[[HttpRequest], HttpResponse]


def for_monitoring(view: View) -> View:
    """Let staff and bearers of the token read a page; tell anyone else nothing."""

    # Outside the request's transaction, which would ask the site's database for nothing.
    @non_atomic_requests
    @wraps(view)
    def page(request: HttpRequest) -> HttpResponse:
        response = safe(request)
        response["Cache-Control"] = "no-store"
        return response

    @require_safe
    def safe(request: HttpRequest) -> HttpResponse:
        try:
            return _denial(request) or view(request)
        except Error:
            return _sentence(_("The circuits' database cannot be read."), 503)

    return page


def _denial(request: HttpRequest) -> HttpResponse | None:
    """Return the answer for whoever may not read the page; None for whoever may."""
    if _bears_token(request) or _is_staff(request):
        return None
    if getattr(_user(request), "is_authenticated", False):
        return _sentence(_("This page is for staff."), 403)
    response = _sentence(_("Log in as staff, or send the health token."), 401)
    response["WWW-Authenticate"] = "Bearer"
    return response


def _bears_token(request: HttpRequest) -> bool:
    token = conf.get().health_token
    scheme, _space, given = request.headers.get("Authorization", "").partition(" ")
    has_scheme = scheme.lower() == "bearer"
    return bool(token) and has_scheme and constant_time_compare(given.strip(), token)


def _is_staff(request: HttpRequest) -> bool:
    user = _user(request)
    return user is not None and user.is_active and user.is_staff


def _user(request: HttpRequest) -> Any:
    """The session's user, on a site that has such."""
    return getattr(request, "user", None)


def _sentence(sentence: str, status: int) -> JsonResponse:
    return JsonResponse({"detail": sentence}, status=status)


@for_monitoring
def health(request: HttpRequest) -> HttpResponse:
    """Answer which circuits are not as they should be, and whether beat runs."""
    # Errors are redacted, yet their words are the remote's: for people of the site only.
    return JsonResponse(report(with_errors=not _bears_token(request)))


@for_monitoring
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with the metrics for Prometheus, where they are on."""
    if not extras.counts(conf.get()):
        return _sentence(_("Metrics are off; CIRCUITS['PROMETHEUS'] turns them on."), 404)
    from .metrics import page

    content, content_type = page(request.headers.get("Accept", ""))
    return HttpResponse(content, content_type=content_type)
