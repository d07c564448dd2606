"""Which circuit a request goes through: a name, a template, or what a callable says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from .exceptions import InvalidInputError
from .validation import NAME_LENGTH, check_name

#: A circuit's name, a template with ``{host}``, ``{port}`` or ``{scheme}``, or a callable that
#: receives the request and returns a name.
Name = str | Callable[[Any], str]

_PORTS: Final = {"http": 80, "https": 443}


def check_naming(name: Name) -> Name:
    """Return what names circuits if it can do so.

    Raises:
        InvalidInputError: It is neither callable nor a name, or a template with other fields.
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


def name_of(name: Name, request: Any, url: str) -> str:
    """Return the name of the circuit for a request to a URL."""
    return name(request) if callable(name) else _fill(name, url)


def _fill(template: str, url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme, 0)
    name = template.format(scheme=parts.scheme, host=parts.hostname or "", port=port)
    # A host may be longer than a name. A long address must not be what stops a call.
    return name[:NAME_LENGTH] if name != template else name
