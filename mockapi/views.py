"""The endpoints of the mock service, which all answer JSON.

The four that act as a remote accept any method.

None of them runs in the transaction that a site with ATOMIC_REQUESTS opens for each request. They
use no database, and an endpoint that sleeps must not hold a transaction open. Besides, if a site on
SQLite called its own mock, the called request would wait for the lock of the calling one.
"""

from collections.abc import Callable
from functools import wraps
from time import sleep

from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from .chance import draw
from .hits import hits
from .parameters import BadParameterError, read_number, read_seed

MAX_SECONDS = 30

View = Callable[[HttpRequest], HttpResponse]


def remote_endpoint(name: str) -> Callable[[View], View]:
    """Return a decorator that makes a view an endpoint of the remote.

    The endpoint counts its hits and answers bad parameters with 400. It is exempt from CSRF checks
    because its callers are programs without cookies, which may try `POST`.

    Args:
        name: The name under which the hits are counted.
    """

    def decorate(view: View) -> View:
        @csrf_exempt
        @non_atomic_requests
        @wraps(view)
        def endpoint(request: HttpRequest) -> HttpResponse:
            hits.record(name)
            try:
                return view(request)
            except BadParameterError as error:
                return JsonResponse({"error": str(error)}, status=400)

        return endpoint

    return decorate


@remote_endpoint("success")
def success(request: HttpRequest) -> HttpResponse:
    """Always answer 200."""
    return _ok(request)


@remote_endpoint("faulty")
def faulty(request: HttpRequest) -> HttpResponse:
    """Always answer 500."""
    return _failure(_("This endpoint always fails."))


@remote_endpoint("slow")
def slow(request: HttpRequest) -> HttpResponse:
    """Answer 200 after the parameter `seconds`: 1 by default, `MAX_SECONDS` at most."""
    seconds = read_number(request, "seconds", default=1, highest=MAX_SECONDS)
    sleep(seconds)
    return _ok(request, seconds=seconds)


@remote_endpoint("flaky")
def flaky(request: HttpRequest) -> HttpResponse:
    """Answer 500 for a share `rate` of the calls and 200 for the others; a `seed` repeats them."""
    rate = read_number(request, "rate", default=0.5, highest=1)
    # The draw is below 1, so a rate of 0 never fails and a rate of 1 always does.
    if draw(read_seed(request)) < rate:
        return _failure(_("This call failed by chance."))
    return _ok(request)


@non_atomic_requests
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """Answer 200, to show that the service runs."""
    return JsonResponse({"status": "ok"})


@non_atomic_requests
@require_safe
def stats(request: HttpRequest) -> HttpResponse:
    """Answer with the hits of each endpoint."""
    return JsonResponse({"hits": hits.snapshot()})


# Exempt from CSRF checks: scripts reset the counts before they measure, and there is nothing to
# protect in the counts of a mock.
@csrf_exempt
@non_atomic_requests
@require_POST
def reset_stats(request: HttpRequest) -> HttpResponse:
    """Set the hits of all endpoints to zero, and answer with them."""
    hits.reset()
    return JsonResponse({"hits": hits.snapshot()})


def _ok(request: HttpRequest, **details: float) -> JsonResponse:
    return JsonResponse({"status": "ok", "method": request.method, **details})


def _failure(reason: str) -> JsonResponse:
    return JsonResponse({"status": "error", "error": reason}, status=500)
