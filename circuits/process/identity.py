"""The id of this process, by which other processes know whose failures they hear of.

It consists of the host's name, the process id and a random part, such as ``web-3:4711:9f3a01c2``.
It does not say where the host can be reached: a name that contains an address is left out.
"""

from __future__ import annotations

import os
import re
import socket
from secrets import token_hex
from typing import Final

#: The name of a host whose own name is left out.
UNNAMED: Final = "host"

#: The most characters of a host's name that are kept.
HOST_LENGTH: Final = 60

_ADDRESS: Final = re.compile(r"\d{1,3}([-._]\d{1,3}){3}|:")
_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9._-]+")

_own = ""


def own() -> str:
    """Return the id of this process. A forked child has its own."""
    global _own
    if not _own:
        _own = new()
    return _own


def forget() -> None:
    """Take a new id, as a forked child must."""
    global _own
    _own = ""


def new() -> str:
    """Return an id that no other process has had."""
    return f"{host_of(socket.gethostname())}:{os.getpid()}:{token_hex(4)}"


def parts(process: str) -> tuple[str, str]:
    """Return the host's name and the process id in an id."""
    host, _, rest = process.partition(":")
    return host, rest.partition(":")[0]


def host_of(name: str) -> str:
    """Return the part of a host's name that goes into an id."""
    short = name.partition(".")[0] if not _ADDRESS.search(name) else ""
    return _UNUSUAL.sub("", short)[:HOST_LENGTH] or UNNAMED
