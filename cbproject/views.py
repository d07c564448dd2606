"""Example views: a page that needs a remote service, as a sync and as an async view.

Neither answers for an open circuit: they let `CircuitOpenError` pass, and `CircuitOpenMiddleware`
answers it with 503 and a Retry-After header.
"""

from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, JsonResponse

import circuits

CIRCUIT = "example"


def remote(request: HttpRequest, endpoint: str) -> JsonResponse:
    """Relay the answer of the remote, or answer 502 if the call fails."""
    try:
        response = circuits.call(CIRCUIT, _url(endpoint))
    except circuits.CircuitOpenError:
        raise
    except circuits.RemoteCallFailedException as error:
        return _bad_gateway(error)
    return _relayed(response.status_code, response.json())


@transaction.non_atomic_requests  # Django cannot wrap an async view in a transaction
async def remote_async(request: HttpRequest, endpoint: str) -> JsonResponse:
    """Do the same as `remote`, with a coroutine."""
    try:
        response = await circuits.acall(CIRCUIT, _url(endpoint))
    except circuits.CircuitOpenError:
        raise
    except circuits.RemoteCallFailedException as error:
        return _bad_gateway(error)
    return _relayed(response.status_code, response.json())


def _url(endpoint: str) -> str:
    return f"{settings.REMOTE_URL}/{endpoint}"


def _relayed(status: int, answer: Any) -> JsonResponse:
    return JsonResponse({"remote_status": status, "remote_answer": answer})


def _bad_gateway(error: circuits.RemoteCallFailedException) -> JsonResponse:
    return JsonResponse({"error": str(error)}, status=502)
