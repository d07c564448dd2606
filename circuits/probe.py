"""One real call through a circuit, made because somebody wants to know how it goes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Literal

import requests
from django.db import Error
from django.utils.translation import gettext

from .breaker import flush
from .exceptions import CircuitOpenError, InvalidInputError, RemoteCallFailedException
from .exceptions import gettext_noop as _
from .handle import get
from .hosts import check_probe_host
from .http import call
from .models import Circuit
from .redaction import describe, redact_url
from .validation import check_name, check_url

Outcome = Literal["passed", "failed", "refused"]

#: What requests and urllib3 raise for a URL that looks right but cannot be called.
_BAD_URL: Final = (requests.RequestException, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """How a probe went.

    Args:
        url: Where it called, without secrets.
        outcome: ``refused`` means that the circuit let no call through.
        status: The HTTP status, where there was an answer.
        seconds: How long the call took.
        detail: The error or the refusal in words, without secrets; empty when it passed.
        state: The circuit's state after it.
    """

    name: str
    url: str
    outcome: Outcome
    status: int | None
    seconds: float
    detail: str
    state: str


def probe(name: str, url: str | None = None) -> ProbeResult:
    """Make a GET request through a circuit; it counts as any other call does.

    An answer that counts as no failure passes, a redirect too: it is not followed, since a probe
    must not wander to another host. The body is not read, however long it is.

    Args:
        url: Where to call; the circuit's probe URL by default. It is not kept.

    Raises:
        InvalidInputError: The circuit is unknown, or there is no URL that can be called, or its
            host is not in ``PROBE_HOSTS``.
    """
    url = _chosen_url(name, url)
    began = perf_counter()
    outcome, status, detail = _call(name, url)
    seconds = perf_counter() - began
    with suppress(Error):
        flush()  # so that who looks at the circuit next finds this call in it
    return ProbeResult(
        name=name,
        url=redact_url(url.strip()),
        outcome=outcome,
        status=status,
        seconds=seconds,
        detail=detail,
        state=get(name).state.value,
    )


def _call(name: str, url: str) -> tuple[Outcome, int | None, str]:
    try:
        response = call(name, url, allow_redirects=False, stream=True, hooks={"response": _stay})
    except CircuitOpenError as error:
        return "refused", None, error.worded(gettext)
    except RemoteCallFailedException as error:
        cause = error.__cause__ or error
        detail = describe(cause) if error.response is None else str(cause)
        return "failed", _status(error.response), detail
    except _BAD_URL as error:
        message = _("The URL cannot be called: %(error)s")
        raise InvalidInputError(message, error=describe(error)) from None
    return "passed", _status(response), ""


def _stay(response: requests.Response, **_: object) -> None:
    """Forget where a redirect leads: requests would read all of its body to get there."""
    response.headers.pop("Location", None)


def _status(response: requests.Response | None) -> int | None:
    if response is None:
        return None
    response.close()
    return response.status_code


def _chosen_url(name: str, given: str | None) -> str:
    rows = Circuit.objects.filter(name=check_name(name))
    stored = rows.values_list("probe_url", flat=True).first()
    if stored is None:
        # A probe never makes a circuit.
        raise InvalidInputError(_("There is no circuit named %(name)s."), name=name)
    if given is None and not stored:
        raise InvalidInputError(
            _("%(name)s has no probe URL; give one, or set one on its page in the admin."),
            name=name,
        )
    url = check_url(stored if given is None else given)
    check_probe_host(url)
    return url
