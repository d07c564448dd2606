"""The host's views, which make calls through circuits."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

import circuits


def fail(request: HttpRequest) -> HttpResponse:
    try:
        with circuits.guard("payments"):
            raise ConnectionError
    except circuits.CircuitOpenError:
        return HttpResponse("refused", status=503)
    except ConnectionError:
        return HttpResponse("failed", status=502)


def succeed(request: HttpRequest) -> HttpResponse:
    with circuits.guard("payments"):
        return HttpResponse("succeeded")


async def afail(request: HttpRequest) -> HttpResponse:
    try:
        async with circuits.guard("payments"):
            raise ConnectionError
    except circuits.CircuitOpenError:
        return HttpResponse("refused", status=503)
    except ConnectionError:
        return HttpResponse("failed", status=502)
