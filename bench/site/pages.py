"""The two pages of the site, of which one needs the remote and the other does not."""

from __future__ import annotations

import os
from time import monotonic
from typing import Final

import requests
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path

from .contenders import CONTENDERS

#: Seconds that the site waits for its remote.
TIMEOUT: Final = 2.0

#: The headers in which an answer names its process, and its moment on the monotonic clock, which
#: all processes of one machine share.
PROCESS, AT = "X-Process", "X-At"

_url = os.environ["BENCH_REMOTE"]
_peer = CONTENDERS[os.environ["BENCH_CONTENDER"]].make()


@_peer.protect
def _ask() -> None:
    requests.get(_url, timeout=TIMEOUT).raise_for_status()


def remote(request: HttpRequest) -> HttpResponse:
    """Call the remote; answer 200 if that succeeds, 503 if it is refused, and 502 if it fails."""
    _read()
    try:
        _ask()
    except _peer.refusal:
        return _answer(503)
    except Exception:
        return _answer(502)
    return _answer(200)


def local(request: HttpRequest) -> HttpResponse:
    """Read from the database only."""
    _read()
    return _answer(200)


def _read() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        cursor.fetchone()


def _answer(status: int) -> HttpResponse:
    headers = {PROCESS: str(os.getpid()), AT: str(monotonic())}
    return HttpResponse("ok\n", status=status, headers=headers)


urlpatterns = [path("remote", remote), path("local", local)]
