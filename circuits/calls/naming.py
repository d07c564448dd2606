"""Names the circuit of a request, by a name, a template or a callable, and that of a function."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from ..exceptions import InvalidInputError
from ..validation import NAME_LENGTH, check_name

#: A circuit's name, a template with ``{host}``, ``{port}`` or ``{scheme}``, or a callable that
#: receives the request and returns a name.
Name = str | Callable[[Any], str]

_PORTS: Final = {"http": 80, "https": 443}


def check_naming(name: Name) -> Name:
    """Return the name, template or callable if it can name circuits.

    Raises:
        InvalidInputError: It is neither callable nor a valid name, or a template with other fields.
    """
    if callable(name):
        return name
    try:
        sample = _fill(name, "https://example.com/")
    except (LookupError, AttributeError, TypeError, ValueError):
        raise InvalidInputError(
            f"The name {name!r} cannot be filled in; it may hold {{host}}, {{port}} and {{scheme}}."
        ) from None
    check_name(sample)
    return name


def name_of(name: Name, request: Any, url: str) -> str | None:
    """Return the name of the circuit for a request to a URL.

    Return None if a template asks for the host and the URL has none. Such a URL leads to no remote,
    and the library that sends the request says what is wrong with it.

    >>> name_of("{host} api", None, "https://pay.example/charge")
    'pay.example api'

    Args:
        name: The name, the template, or the callable, which receives the request.
        request: The request, of requests or httpx.
        url: The URL that the request goes to.
    """
    if callable(name):
        return name(request)
    if "{host" in name and not urlsplit(url).hostname:
        return None
    return _fill(name, url)


def fitted(name: str) -> str:
    """Return a name that was made from parts, shortened if it is too long for a circuit.

    A shortened name ends in a short digest of the whole name, so that two names never become one.

    >>> fitted("pay.example")
    'pay.example'
    >>> fitted("a" * 94 + ".example")[-16:]
    'aaa~abf17823cb3e'
    """
    if len(name) <= NAME_LENGTH:
        return name
    digest = blake2b(name.encode(errors="replace"), digest_size=6).hexdigest()
    return f"{name[: NAME_LENGTH - len(digest) - 1]}~{digest}"


def _fill(template: str, url: str) -> str:
    parts = urlsplit(url)
    name = template.format(scheme=parts.scheme, host=parts.hostname or "", port=_port(parts))
    # A host may be longer than a name may be, and that must not stop a call.
    return fitted(name) if name != template else name


def _port(parts: SplitResult) -> int:
    """Return the port of a URL, or the default port of its scheme; 0 if there is neither."""
    try:
        return parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:  # beyond 65535
        return 0
