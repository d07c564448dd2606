"""The endpoints. The four that stand for a remote take any method; all answer JSON.

None runs in the transaction that a site with ATOMIC_REQUESTS opens for each request. They use no
database, a sleeping one must not hold it, and when a site calls its own mock on SQLite, the called
request would wait for the lock of the very request that called it.
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
    """Make a view behave like a remote's: hits counted, bad parameters answered with 400.

    Exempt from CSRF because its callers are programs without cookies, trying out `POST`.
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
    return _ok(request)


@remote_endpoint("faulty")
def faulty(request: HttpRequest) -> HttpResponse:
    return _failure(_("This endpoint always fails."))


@remote_endpoint("slow")
def slow(request: HttpRequest) -> HttpResponse:
    seconds = read_number(request, "seconds", default=1, highest=MAX_SECONDS)
    sleep(seconds)
    return _ok(request, seconds=seconds)


@remote_endpoint("flaky")
def flaky(request: HttpRequest) -> HttpResponse:
    rate = read_number(request, "rate", default=0.5, highest=1)
    # The draw is below 1, so a rate of 0 never fails and a rate of 1 always does.
    if draw(read_seed(request)) < rate:
        return _failure(_("This call failed by chance."))
    return _ok(request)


@non_atomic_requests
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


@non_atomic_requests
@require_safe
def stats(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"hits": hits.snapshot()})


# Exempt from CSRF: scripts zero the counts before they measure, and there is nothing to protect,
# since the counts belong to a development mock and guard no one's data.
@csrf_exempt
@non_atomic_requests
@require_POST
def reset_stats(request: HttpRequest) -> HttpResponse:
    hits.reset()
    return JsonResponse({"hits": hits.snapshot()})


def _ok(request: HttpRequest, **details: float) -> JsonResponse:
    return JsonResponse({"status": "ok", "method": request.method, **details})


def _failure(reason: str) -> JsonResponse:
    return JsonResponse({"status": "error", "error": reason}, status=500)
