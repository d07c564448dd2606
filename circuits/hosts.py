"""Decides which hosts a probe may call."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import requests
from django.http.request import validate_host

from . import conf
from .addresses import is_public
from .exceptions import InvalidInputError
from .exceptions import gettext_noop as _
from .redaction import describe


def check_probe_host(url: str) -> None:
    """Refuse a URL that no probe may call, by the URL alone.

    :func:`check_address` checks the address that its host turns out to have.

    Raises:
        InvalidInputError: The URL cannot be called; ``PROBE_HOSTS`` does not list its host; or
            ``PROBE_HOSTS`` lists the host only by ``*``, and it is an address that is not public.
    """
    host = _host_called(url)
    if _is_named(host):
        return
    if "*" not in conf.get().probe_hosts:
        raise InvalidInputError(
            _("No probe may call the host %(host)s; add it to CIRCUITS['PROBE_HOSTS'] if one may."),
            host=host,
        )
    address = _address_written(host)
    if address is not None:
        check_address(host, address)


def check_address(host: str, address: str) -> None:
    """Refuse an address that is not public, which a probe may call only if its host is named.

    Raises:
        InvalidInputError: The address is loopback, link-local, private or otherwise not public.
    """
    if not is_public(address):
        raise InvalidInputError(
            _(
                "No probe may call the host %(host)s, whose address is not a public one; add the "
                "host to CIRCUITS['PROBE_HOSTS'] if one may."
            ),
            host=host,
        )


def is_named(url: str) -> bool:
    """Return whether ``PROBE_HOSTS`` lists the host of a URL by more than ``*``."""
    return _is_named(_host_called(url))


def _is_named(host: str) -> bool:
    return validate_host(host, [listed for listed in conf.get().probe_hosts if listed != "*"])


def _address_written(host: str) -> str | None:
    """Return the IP address that a host is, in its usual form; None if the host is a name."""
    if host.startswith("["):
        return host[1:-1]
    try:
        return socket.inet_ntoa(socket.inet_aton(host))  # reads 127.1 and 0x7f000001 too
    except OSError:
        return None


def _host_called(url: str) -> str:
    """Return the host that requests would connect to. Other parsers may find a different one."""
    try:
        prepared = requests.Request("GET", url.strip()).prepare()
        host = urlsplit(prepared.url or "").hostname or ""
    except (requests.RequestException, ValueError) as error:
        message = _("The URL cannot be called: %(error)s")
        raise InvalidInputError(message, error=describe(error)) from None
    return f"[{host}]" if ":" in host else host
