"""Checks names, URLs and statuses that people or code give. Each error names the fix."""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import urlsplit

from .exceptions import InvalidInputError, shown
from .exceptions import gettext_noop as _
from .signs import deceptive, spelled

NAME_LENGTH: Final = 100

#: The longest probe URL, in characters.
URL_LENGTH: Final = 500

#: HTTP statuses have three digits. Some remotes use statuses of their own beyond 599.
LEAST_STATUS: Final = 100
MOST_STATUS: Final = 999

#: The longest list of HTTP statuses, in characters.
STATUSES_LENGTH: Final = 200

# Control characters, lone surrogates and line separators: they break logs, terminals and
# database drivers, and no one can type them into a search box.
_STATUSES: Final = re.compile(r"([0-9]{3})(?:\s*-\s*([0-9]{3}))?")

_UNPRINTABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


def check_name(name: object) -> str:
    """Return the name if it can be a circuit's.

    Raises:
        InvalidInputError: The name is not a string of 1 to 100 characters; begins or ends with
            white space; or has control characters, invisible ones, or ones that look like others.
    """
    if not isinstance(name, str):
        raise InvalidInputError(
            _("A circuit's name must be a string, not %(kind)s."), kind=type(name).__name__
        )
    if not 1 <= len(name) <= NAME_LENGTH:
        raise InvalidInputError(
            _("A circuit's name must have 1 to %(most)d characters, not %(length)d."),
            most=NAME_LENGTH,
            length=len(name),
        )
    if _has_unprintable(name):
        raise InvalidInputError(
            _("A circuit's name must not hold control characters: %(name)a."), name=name
        )
    if signs := deceptive(name):
        raise InvalidInputError(
            _(
                "A circuit's name must not hold characters that cannot be seen or look like "
                "others: %(signs)s in %(name)a."
            ),
            signs=", ".join(dict.fromkeys(map(spelled, signs))),
            name=name,
        )
    if name != name.strip():
        raise InvalidInputError(
            _("A circuit's name must not begin or end with a space: %(name)r."), name=name
        )
    return name


def check_url(url: object) -> str:
    """Return a URL that can be called: http or https, with a host.

    Raises:
        InvalidInputError: The URL cannot be called. The message does not repeat its secrets.
    """
    if not isinstance(url, str):
        raise InvalidInputError(_("A URL must be a string, not %(kind)s."), kind=type(url).__name__)
    if _has_unprintable(url.strip()):
        raise InvalidInputError(_("The URL must not hold control characters."))
    try:
        parts = urlsplit(url.strip())
        host, _port = parts.hostname, parts.port
    except ValueError:
        # Not chained, because the cause may quote part of a password.
        raise InvalidInputError(
            _("The URL cannot be read; write it as http://host/path.")
        ) from None
    if parts.scheme.lower() not in ("http", "https"):
        raise InvalidInputError(
            _("The URL must begin with http:// or https://, not %(scheme)r."),
            scheme=parts.scheme[:20],
        )
    if not host:
        raise InvalidInputError(_("The URL has no host; write it as http://host/path."))
    return url


def check_probe_url(url: object) -> str:
    """Return a URL that can be stored with a circuit: callable and without secrets.

    Raises:
        InvalidInputError: The URL cannot be called, is too long, or has user info, a query string
            or a fragment, which are never kept.
    """
    parts = urlsplit(check_url(url).strip())
    if "@" in parts.netloc:
        raise InvalidInputError(
            _("A probe URL must not hold a user name or password: it is stored.")
        )
    if parts.query or parts.fragment:
        raise InvalidInputError(
            _("A probe URL must not hold a query string or fragment: it is stored.")
        )
    if len(parts.geturl()) > URL_LENGTH:
        raise InvalidInputError(
            _("A probe URL must have at most %(most)d characters."), most=URL_LENGTH
        )
    return parts.geturl()


def parse_statuses(text: str) -> frozenset[int]:
    """Return the HTTP statuses that a text such as ``500-599, 429`` lists; none for an empty one.

    Raises:
        InvalidInputError: The text is not a list of statuses and ranges from 100 to 999.
    """
    found: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _STATUSES.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not LEAST_STATUS <= first <= last <= MOST_STATUS:
            raise InvalidInputError(
                _("%(part)s is not an HTTP status or range; write for instance 500-599, 429."),
                part=shown(part),
            )
        found.update(range(first, last + 1))
    return frozenset(found)


def _has_unprintable(text: str) -> bool:
    # isprintable() decides quickly for nearly all names, but it refuses more than we do.
    return not text.isprintable() and any(
        unicodedata.category(character) in _UNPRINTABLE for character in text
    )
