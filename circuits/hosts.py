"""Which hosts a probe may call."""

from __future__ import annotations

from urllib.parse import urlsplit

import requests
from django.http.request import validate_host

from . import conf
from .exceptions import InvalidInputError
from .exceptions import gettext_noop as _
from .redaction import describe


def check_probe_host(url: str) -> None:
    """Refuse a URL at a host that ``PROBE_HOSTS`` does not list.

    Raises:
        InvalidInputError: It does not, or nobody could call the URL.
    """
    host = _host_called(url)
    if not validate_host(host, conf.get().probe_hosts):
        raise InvalidInputError(
            _("No probe may call the host %(host)s; add it to CIRCUITS['PROBE_HOSTS'] if one may."),
            host=host,
        )


def _host_called(url: str) -> str:
    """Return the host that requests would connect to; other readers may see another one."""
    try:
        prepared = requests.Request("GET", url.strip()).prepare()
        host = urlsplit(prepared.url or "").hostname or ""
    except (requests.RequestException, ValueError) as error:
        message = _("The URL cannot be called: %(error)s")
        raise InvalidInputError(message, error=describe(error)) from None
    return f"[{host}]" if ":" in host else host
