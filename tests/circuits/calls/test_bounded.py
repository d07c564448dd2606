"""Requests that end in time and connect only to allowed addresses, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import pytest
import requests

from circuits.calls.bounded import BoundedAdapter, PublicAdapter
from circuits.calls.sessions import PlainSession
from circuits.exceptions import InvalidInputError
from tests.circuits.calls import raw_server as raw
from tests.circuits.calls.raw_server import CA_FILE, SHORT, TLS_HOST, serving
from tests.concurrency import in_time
from tests.resolver import Resolver

#: A public address. Connections to it are redirected to a server on this machine.
PUBLIC: Final = "203.0.114.9"

#: Seconds in which a request with the time limit SHORT ends, however busy the machine is.
SOON: Final = 5.0


def get(url: str, adapter: type[BoundedAdapter] = BoundedAdapter, **how: Any) -> requests.Response:
    """Make a request that must end soon, with or without an answer."""

    def ask() -> requests.Response:
        with PlainSession(adapter()) as session:
            return session.get(url, timeout=SHORT, **how)

    return in_time(ask, SOON)


def test_an_answer_that_comes_in_time_is_as_ever() -> None:
    for answer in (raw.good, raw.good_chunks, raw.good_gzip):
        with serving(answer) as remote:
            assert get(remote.url).content == b"first\nsecond\n"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("where", raw.DRIPS)
def test_who_drips_is_given_up(where: str, tls: bool, resolver: Resolver) -> None:
    resolver.knows[TLS_HOST] = "127.0.0.1"
    with serving(raw.DRIPS[where](), tls=tls) as remote:
        url = f"https://{TLS_HOST}:{remote.port}/" if tls else remote.url
        with pytest.raises((requests.Timeout, requests.ConnectionError), match="timed out"):
            get(url, verify=CA_FILE)
        assert remote.requests, "it was asked"


@pytest.mark.parametrize("where", raw.DRIPS)
def test_a_proxy_that_drips_is_given_up(where: str) -> None:
    with serving(raw.DRIPS[where]()) as proxy:
        with pytest.raises(requests.RequestException, match="timed out"):
            get("http://pay.example/", proxies={"http": proxy.url})
        assert proxy.requests


def test_a_proxy_that_drips_before_its_tunnel_is_given_up() -> None:
    with serving(raw.DRIPS["header"]()) as proxy:
        with pytest.raises(requests.RequestException):
            get("https://pay.example/", proxies={"https": proxy.url})
        assert [request.method for request in proxy.requests] == ["CONNECT"]


def test_a_proxy_that_speaks_socks_is_spoken_to_in_its_own_way() -> None:
    with serving(raw.good, socks=True) as proxy:
        url = f"socks5h://127.0.0.1:{proxy.port}"
        answer = get("http://pay.example/charge", proxies={"http": url})
        assert answer.content == b"first\nsecond\n"
        [request] = proxy.requests
    assert (request.path, request.headers["Host"]) == ("/charge", "pay.example")


@pytest.fixture
def silent() -> Iterator[int]:
    """Yield a port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_who_says_nothing_is_given_up(scheme: str, silent: int) -> None:
    with pytest.raises((requests.Timeout, requests.ConnectionError), match="timed out"):
        get(f"{scheme}://127.0.0.1:{silent}/")


def test_who_does_not_read_is_given_up(silent: int) -> None:
    with pytest.raises((requests.Timeout, requests.ConnectionError), match="timed out"):
        get(f"http://127.0.0.1:{silent}/", data=b"x" * 20_000_000)


def test_a_resolver_that_takes_too_long_is_given_up(resolver: Resolver) -> None:
    resolver.is_silent = True
    with pytest.raises(requests.ConnectTimeout, match="No time left to resolve 'pay"):
        get("http://pay.example/")


def test_a_host_that_is_not_there_is_said(resolver: Resolver) -> None:
    with pytest.raises(requests.ConnectionError, match="Failed to resolve 'nowhere"):
        get("http://nowhere.example/")


def test_a_host_without_an_address_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with pytest.raises(requests.ConnectionError, match="The host has no address"):
        get("http://pay.example/")


def test_each_address_is_tried_in_turn(resolver: Resolver) -> None:
    with serving(raw.good) as remote:
        resolver.knows["pay.example"] = "127.0.0.9", "127.0.0.1"
        assert get(f"http://pay.example:{remote.port}/").content == b"first\nsecond\n"
    assert [address for address, _port in resolver.connected] == ["127.0.0.9", "127.0.0.1"]
    with pytest.raises(requests.ConnectionError, match="Failed to establish a new connection"):
        get(f"http://pay.example:{remote.port}/")


# Public addresses only ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "found",
    ["127.0.0.1", "169.254.169.254", "10.1.2.3", "::1", "::ffff:127.0.0.1", (PUBLIC, "127.0.0.1")],
)
def test_a_name_that_leads_to_this_network_is_refused(resolver: Resolver, found: Any) -> None:
    resolver.knows["pay.example"] = found
    with pytest.raises(InvalidInputError, match=r"host pay\.example, whose address is not a pub"):
        get("http://pay.example/", PublicAdapter)
    assert resolver.connected == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "[::1]", "localhost"],
)
def test_this_machine_is_refused_however_it_is_written(resolver: Resolver, host: str) -> None:
    with pytest.raises(InvalidInputError, match="No probe may call the host"):
        get(f"http://{host}:9/", PublicAdapter)
    assert resolver.connected == []


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_the_address_that_was_judged_is_the_one_connected_to(resolver: Resolver, tls: bool) -> None:
    """The name resolves to another address the second time; host and certificate stay the same."""
    answers = iter([PUBLIC, "127.0.0.1", "127.0.0.1"])
    resolver.knows[TLS_HOST] = lambda: next(answers)
    with serving(raw.good, tls=tls) as remote:
        resolver.led[PUBLIC] = "127.0.0.1"
        url = f"{'https' if tls else 'http'}://{TLS_HOST}:{remote.port}/"
        assert get(url, PublicAdapter, verify=CA_FILE).ok
    assert resolver.connected == [(PUBLIC, remote.port)]
    assert remote.requests[0].headers["Host"] == f"{TLS_HOST}:{remote.port}"
    assert remote.names == ([TLS_HOST] if tls else [])


def test_a_certificate_of_another_host_is_refused(resolver: Resolver) -> None:
    resolver.knows["evil.example"] = PUBLIC
    resolver.led[PUBLIC] = "127.0.0.1"
    with serving(raw.good, tls=True) as remote, pytest.raises(requests.exceptions.SSLError):
        get(f"https://evil.example:{remote.port}/", PublicAdapter, verify=CA_FILE)
    assert remote.names == ["evil.example"]
    assert remote.requests == []


def test_a_certificate_is_checked_unless_the_caller_says_otherwise(resolver: Resolver) -> None:
    resolver.knows[TLS_HOST] = PUBLIC
    resolver.led[PUBLIC] = "127.0.0.1"
    with serving(raw.good, tls=True) as remote, closing(PublicAdapter()) as adapter:
        request = requests.Request("GET", f"https://{TLS_HOST}:{remote.port}/").prepare()
        with pytest.raises(requests.exceptions.SSLError):
            adapter.send(request, timeout=SOON)
        assert adapter.send(request, timeout=SOON, verify=CA_FILE).ok


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_proxy_is_asked_to_go_there_instead(scheme: str) -> None:
    with serving(raw.good) as proxy:
        with pytest.raises(InvalidInputError) as refused:
            get(f"{scheme}://127.0.0.1/", PublicAdapter, proxies={scheme: proxy.url})
        assert str(refused.value) == (
            "No probe may call the host 127.0.0.1 through a proxy, where its address cannot be "
            "checked; add the host to CIRCUITS['PROBE_HOSTS'] if one may."
        )
        assert proxy.connections == 0


def test_a_proxy_that_is_not_for_the_host_is_none(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "pay.example")
    resolver.knows["pay.example"] = PUBLIC
    resolver.led[PUBLIC] = "127.0.0.1"
    with serving(raw.good) as remote:
        assert get(f"http://pay.example:{remote.port}/", PublicAdapter).ok
