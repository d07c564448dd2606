"""Limits how long a whole request takes and, if asked to, which addresses it may go to.

A timeout of requests is for each part of an answer, so a remote that sends a byte now and then
holds its caller for ever. Here the timeout covers everything, from the look-up of the host to the
last byte that is read.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from functools import partial
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, Final, cast
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from ..exceptions import InvalidInputError
from ..exceptions import gettext_noop as _
from ..hosts import check_address

#: The timeout in seconds of a socket that has no time left. 0 would make it non-blocking.
_NO_TIME: Final = 0.001


# Connections -------------------------------------------------------------------------------------


class _Bounded(HTTPConnection):
    """A connection for one request, whose timeout covers the request as a whole."""

    _deadline: float = 0.0

    def connect(self) -> None:
        self._deadline = monotonic() + float(self.timeout or 0)
        self.response_class = partial(_Answer, deadline=self._deadline)  # type: ignore[assignment]
        super().connect()

    def send(self, data: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(_left(self._deadline))
        super().send(data)

    def _new_conn(self) -> socket.socket:
        host, timeout = self._dns_host, self.timeout
        addresses = self._judged(self._looked_up(host))
        try:
            connected = self._first_of(addresses)
        finally:
            # TLS checks the certificate for this name, not for the address that we connected to.
            self._dns_host, self.timeout = host, timeout
        connected.settimeout(_left(self._deadline))
        return connected

    def _looked_up(self, host: str) -> list[str]:
        try:
            return _addresses(host, int(self.port or 0), _left(self._deadline))
        except socket.gaierror as error:
            raise NewConnectionError(self, f"Failed to resolve {host!r} ({error})") from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"No time left to resolve {host!r}") from error

    def _judged(self, addresses: list[str]) -> list[str]:
        return addresses

    def _first_of(self, addresses: list[str]) -> socket.socket:
        """Return a connection to the first address that accepts one.

        Each address gets an equal share of the time that is left.
        """
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            self._dns_host, self.timeout = address, _left(self._deadline) / left
            try:
                return super()._new_conn()
            except (ConnectTimeoutError, NewConnectionError):
                if left == 1:
                    raise
        raise NewConnectionError(self, "The host has no address")


class _BoundedTLS(_Bounded, HTTPSConnection):
    """A bounded connection under TLS."""


class _Public(_Bounded):
    """A bounded connection to public addresses only."""

    def _judged(self, addresses: list[str]) -> list[str]:
        for address in addresses:
            check_address(self.host, address)
        return addresses


class _PublicTLS(_Public, _BoundedTLS):
    """A bounded connection under TLS to public addresses only."""


class _BoundedPool(HTTPConnectionPool):
    ConnectionCls = _Bounded


class _BoundedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedTLS


class _PublicPool(HTTPConnectionPool):
    ConnectionCls = _Public


class _PublicTLSPool(HTTPSConnectionPool):
    ConnectionCls = _PublicTLS


# Adapters ----------------------------------------------------------------------------------------


class BoundedAdapter(HTTPAdapter):
    """Sends requests, and ends each at the latest when its timeout has passed."""

    _pools: Mapping[str, type[HTTPConnectionPool]] = {
        "http": _BoundedPool,
        "https": _BoundedTLSPool,
    }

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool manager, whose connections are bounded."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = dict(self._pools)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Return the manager of a proxy, whose connections are bounded unless it speaks SOCKS."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = dict(self._pools)
        return manager


class PublicAdapter(BoundedAdapter):
    """Sends requests to public addresses only.

    The addresses of a host are looked up once and checked, and the connection goes to one of those
    very addresses: a name that changes in between leads nowhere else. A proxy would look the name
    up by itself, so a request through one is refused.
    """

    _pools: Mapping[str, type[HTTPConnectionPool]] = {
        "http": _PublicPool,
        "https": _PublicTLSPool,
    }

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a request to a public address.

        Raises:
            InvalidInputError: The request would go through a proxy, or the host has an address that
                is not public.
        """
        if select_proxy(str(request.url), dict(proxies or {})):
            raise InvalidInputError(
                _(
                    "No probe may call the host %(host)s through a proxy, where its address cannot "
                    "be checked; add the host to CIRCUITS['PROBE_HOSTS'] if one may."
                ),
                host=urlsplit(request.url or "").hostname,
            )
        return super().send(request, stream, timeout, verify, cert, proxies)


# Time --------------------------------------------------------------------------------------------


def _left(deadline: float) -> float:
    return max(deadline - monotonic(), _NO_TIME)


def _addresses(host: str, port: int, seconds: float) -> list[str]:
    """Return the addresses of a host, in the order in which to try them.

    The resolver takes no timeout, so a thread of its own waits for it.

    Args:
        seconds: How long to wait for the resolver.

    Raises:
        TimeoutError: The resolver took longer.
        OSError: The host is not known.
    """
    found: SimpleQueue[list[str] | Exception] = SimpleQueue()

    def look_up() -> None:
        try:
            known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.put(list(dict.fromkeys(str(each[4][0]) for each in known)))
        except Exception as error:
            found.put(error)  # the caller raises it

    Thread(target=look_up, name="circuits-resolver", daemon=True).start()
    try:
        result = found.get(timeout=seconds)
    except Empty:
        raise TimeoutError from None
    if isinstance(result, Exception):
        raise result
    return result


class _Answer(HTTPResponse):
    """An answer that can be read until the deadline."""

    def __init__(self, sock: socket.socket, *args: Any, deadline: float, **kwargs: Any) -> None:
        super().__init__(cast("socket.socket", _Timed(sock, deadline)), *args, **kwargs)


class _Timed:
    """The part of a socket that an answer uses: a file to read from."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def makefile(self, mode: str) -> BufferedReader:
        return BufferedReader(_Reader(self._sock, self._deadline))


class _Reader(RawIOBase):
    """Reads from a socket; each read waits at most until the deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError("The time for the whole answer is up")
        self._sock.settimeout(left)
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()
