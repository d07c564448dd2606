"""The health and metrics pages, for staff and for requests with the health token."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.contrib.auth.decorators import login_not_required
from django.db import Error
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from . import conf
from .integrations import setup
from .reports.health import report
from .steering.permissions import is_staff, sight_of
from .unavailable import logged, note_unreadable

View = Callable[[HttpRequest], HttpResponse]


def for_monitoring(view: View) -> View:
    """Return a view that only staff and requests with the health token may read."""

    # Not atomic, since a transaction would only open a connection to the site's database. Exempt
    # from LoginRequiredMiddleware, which does not know the token.
    @login_not_required
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
        except Error as error:
            note_unreadable(error)
            return logged(_sentence(_("The circuits' database cannot be read."), 503))

    return page


def _denial(request: HttpRequest) -> HttpResponse | None:
    """Return the response to a request that may not read the page; None if it may."""
    if _bears_token(request) or is_staff(request):
        return None
    if getattr(getattr(request, "user", None), "is_authenticated", False):
        return _sentence(_("This page is for staff."), 403)
    response = _sentence(_("Log in as staff, or send the health token."), 401)
    response["WWW-Authenticate"] = "Bearer"
    return response


def _bears_token(request: HttpRequest) -> bool:
    token = conf.get().health_token
    scheme, _space, given = request.headers.get("Authorization", "").partition(" ")
    has_scheme = scheme.lower() == "bearer"
    return bool(token) and has_scheme and constant_time_compare(given.strip(), token)


def _sentence(sentence: str, status: int) -> JsonResponse:
    return JsonResponse({"detail": sentence}, status=status)


@for_monitoring
def health(request: HttpRequest) -> HttpResponse:
    """Return the circuits that are out of order, and whether beat runs, as JSON."""
    # Errors are redacted, but they quote remotes, so only users who may view circuits see them.
    if _bears_token(request):
        return JsonResponse(report(with_errors=False))
    sight = sight_of(request)
    return JsonResponse(report(sight.circuits, with_errors=sight.has_texts))


@for_monitoring
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics for Prometheus, if the settings turn them on."""
    if not setup.counts(conf.get()):
        return _sentence(_("Metrics are off; CIRCUITS['PROMETHEUS'] turns them on."), 404)
    if not (_bears_token(request) or sight_of(request).is_all):
        return _sentence(_("These metrics are of all circuits: send the health token."), 403)
    from .integrations.metrics import page

    content, content_type = page(request.headers.get("Accept", ""))
    return HttpResponse(content, content_type=content_type)
