"""Probes a circuit: makes one real call through it because somebody asks."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Literal

import requests
from django.db import Error
from django.utils.translation import gettext

from ..calls.bounded import BoundedAdapter, PublicAdapter
from ..calls.http import call_by
from ..calls.sessions import PlainSession
from ..core.status import State
from ..exceptions import (
    CircuitOpenError,
    InvalidInputError,
    RemoteCallFailedException,
    UnknownCircuitError,
)
from ..exceptions import gettext_noop as _
from ..hosts import check_probe_host, is_named
from ..models import Circuit
from ..process.runtime import flush, store
from ..redaction import describe, redact_url
from ..storage.nearness import near_misses
from ..validation import check_name, check_url

Outcome = Literal["passed", "failed", "refused"]

#: What requests and urllib3 raise for a URL that looks right but cannot be called.
_BAD_URL: Final = (requests.RequestException, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """The result of a probe.

    Args:
        url: The URL that was called, without secrets.
        outcome: ``passed``, ``failed``, or ``refused`` if the circuit let no call through.
        status: The HTTP status, if there was an answer.
        seconds: Seconds that the call took.
        detail: The error or the refusal, without secrets; empty if the call passed.
        state: The circuit's state after the call.
    """

    name: str
    url: str
    outcome: Outcome
    status: int | None
    seconds: float
    detail: str
    state: str


def probe(name: str, url: str | None = None) -> ProbeResult:
    """Make a GET request through a circuit; it counts like any other call.

    A redirect counts as an answer and is not followed, so a probe cannot be led to another host.
    The body is not read, and the probe ends when the circuit's timeout has passed. No credentials
    are sent except those in the URL.

    Example::

        if probe("payments").outcome == "passed":
            ...

    Args:
        url: The URL to call; the circuit's probe URL by default. It is not stored.

    Raises:
        InvalidInputError: The circuit is unknown, it has no URL that can be called, or
            ``PROBE_HOSTS`` does not allow the host.
    """
    url = _chosen_url(name, url)
    began = perf_counter()
    outcome, status, detail = _call(name, url)
    seconds = perf_counter() - began
    with suppress(Error):
        flush()  # whoever looks at the circuit next finds this call in it
    return ProbeResult(
        name=name,
        url=redact_url(url),
        outcome=outcome,
        status=status,
        seconds=seconds,
        detail=detail,
        state=_state_of(name).value,
    )


def _state_of(name: str) -> State:
    found = store.find(name)
    return State.CLOSED if found is None else found.status.state  # deleted meanwhile: as a new one


def _call(name: str, url: str) -> tuple[Outcome, int | None, str]:
    try:
        with PlainSession(BoundedAdapter() if is_named(url) else PublicAdapter()) as session:
            response = call_by(lambda: session, name, url, allow_redirects=False, stream=True)
            status = _status(response)
    except CircuitOpenError as error:
        return "refused", None, error.worded(gettext)
    except RemoteCallFailedException as error:
        cause = error.__cause__ or error
        detail = describe(cause) if error.response is None else str(cause)
        return "failed", _status(error.response), detail
    except InvalidInputError:
        raise
    except _BAD_URL as error:
        message = _("The URL cannot be called: %(error)s")
        raise InvalidInputError(message, error=describe(error)) from None
    return "passed", status, ""


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
        raise UnknownCircuitError(name, near_misses(name))
    if given is None and not stored:
        raise InvalidInputError(
            _("%(name)s has no probe URL; give one, or set one on its page in the admin."),
            name=name,
        )
    url = check_url(stored if given is None else given).strip()
    check_probe_host(url)
    return url
