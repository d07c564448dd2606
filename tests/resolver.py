"""A resolver whose names a test sets, with a record of all connections."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import pytest

from tests.concurrency import PATIENCE

Found = str | Sequence[str]


@dataclass
class Resolver:
    """Resolves host names in place of the machine's resolver.

    Args:
        knows: The address or addresses of each name, or a function that is called at each look-up.
        led: The real target of connections to an address, so that nothing leaves this machine.
        is_silent: Whether it answers only when the test is over.
        connected: The addresses and ports that were connected to.
    """

    knows: dict[str, Found | Callable[[], Found]] = field(default_factory=dict)
    led: dict[str, str] = field(default_factory=dict)
    is_silent: bool = False
    connected: list[tuple[str, int]] = field(default_factory=list)
    over: Event = field(default_factory=Event)

    def addresses(self, host: str) -> Sequence[str] | None:
        """Return the addresses set for a name; None to use the machine's resolver."""
        if self.is_silent:
            self.over.wait(PATIENCE)
        if host.endswith(".example") and host not in self.knows:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found = self.knows.get(host)
        found = found() if callable(found) else found
        return [found] if isinstance(found, str) else found


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    """Install a resolver whose names the test sets."""
    ours = Resolver()
    real_look, real_connect = socket.getaddrinfo, socket.socket.connect

    def look(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        addresses = ours.addresses(host) or [host]
        return [each for one in addresses for each in real_look(one, port, *args, **kwargs)]

    def connect(self: socket.socket, address: Any) -> None:
        host, port, *rest = address
        ours.connected.append((host, port))
        real_connect(self, (ours.led.get(host, host), port, *rest))

    monkeypatch.setattr(socket, "getaddrinfo", look)
    monkeypatch.setattr(socket.socket, "connect", connect)
    yield ours
    ours.over.set()
