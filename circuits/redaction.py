"""Removes secrets from texts before they are stored, logged, mailed or shown.

Every text that comes from a remote, an exception or a person goes through :func:`describe`,
:func:`redact` or :func:`redact_url`. No other module removes secrets. docs/security.md says what is
promised.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.client import BadStatusLine, RemoteDisconnected, UnknownProtocol
from typing import Final
from urllib.parse import urlsplit

from .layers import DEEPEST, layers
from .tokens import looks_random

ERROR_LENGTH: Final = 500

#: Replaces a secret, unless a whole part of a URL is left out.
MASK: Final = "***"

_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")

# The part of a message in which urllib3 says where an error occurred, and the number of the error.
_WHERE: Final = re.compile(
    r"^(?:\w+\(host='[^']*', port=\w+\): |<[^>]*>: )?(?:Failed to establish a new connection: )?"
    r"(?:\[Errno -?\d+\] )?"
)

# Within a URL ------------------------------------------------------------------------------------

# Everything between the scheme and the last @ of the authority.
_USER_INFO: Final = re.compile(r"(?<=://)[^\s/?#]*@")

# An authority whose port is not a number. It is the beginning of a password with a slash in it.
_BROKEN_AUTHORITY: Final = re.compile(r"(?!\[)[^/?#:@]*:(?!\d*(?:[/?#]|$))")

# A path with a query or fragment, in a whole URL or bare, as urllib3 writes it. It also matches a
# path without them, so that a long text is read once and not again from every slash.
_PATH: Final = re.compile(r"(/[^\s?#]*)(?:[?#]\S*)?")

# The authority at the beginning of a match of _PATH in a whole URL.
_AUTHORITY: Final = re.compile(r"//[^/]*")

# A segment of a path, without the quotes and brackets of a sentence around it.
_SEGMENT: Final = re.compile(r"[^/\\\s'\"<>()\[\]{},;|`]+")

# Within a text -----------------------------------------------------------------------------------

_WORD: Final = re.compile(r"\S+")

# A quoted text, or one that is masked already.
_QUOTED: Final = r"""b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\]|\\.)*'|\*{3}(?=[\s,)}\]]|$)"""

_KEY: Final = (
    r"passw(?:or)?d|passphrase|passwd|pwd|secret|token|jwt|credentials?|signature"
    r"|(?:api|access|account|private|auth)[-_ ]?key|session[-_]?id"
    r"|(?<![a-z])sig(?![a-z])|(?<=[-_])pass(?![a-z])"
)

#: Masked in this order. If a pattern has a group, the group is kept.
_PATTERNS: Final = (
    # Headers. The value may have several words, up to the end of the line or of the quotes.
    re.compile(
        r"(\b(?:proxy-)?(?:authorization|cookie)\b[\"']?\s{0,3}[:=,]\s{0,3})"
        rf"(?:{_QUOTED}|[^\r\n]+)",
        re.IGNORECASE,
    ),
    # name=value, in many notations. "(using password: YES)" of MySQL is not a password.
    re.compile(
        rf"((?:{_KEY})[\w-]{{0,40}}(?:[\"']\s{{0,3}},|[\"']?\s{{0,3}}(?:=>|[=:>]))\s{{0,3}})"
        rf"(?!(?:YES|NO)\))(?:{_QUOTED}|\S+)",
        re.IGNORECASE,
    ),
    # The schemes of HTTP authentication, outside a header.
    re.compile(r"(\bBearer\s{1,3})(?!token\b|auth|realm=|error)\S+", re.IGNORECASE),
    re.compile(
        r"(\b(?:[Bb]asic|[Nn]egotiate|[Tt]oken|[Aa]pi[Kk]ey)\s{1,3})"
        r"(?=[\w+/.~-]*(?:[0-9=]|[a-z][A-Z]))[\w+/.~=-]{6,}"
    ),
    # Tokens with a known prefix.
    re.compile(
        r"(?<![\w-])(?:eyJ[\w-]{5,}\.[\w.-]+|[spr]k_(?:live|test)_\w+|gh[opsur]_\w+"
        r"|github_pat_\w+|glpat-[\w-]+|xox[a-z]-[\w-]+|A[KS]IA[0-9A-Z]{16}|AIza[\w-]{30,})"
    ),
    # Python's error for a password that it took for a port.
    re.compile(r"(cast to integer value as )'[^']*'"),
    # An answer that is not HTTP, as exceptions quote it.
    re.compile(r"(BadStatusLine\(|UnknownProtocol\(|\bbytearray\()(?:b?\"[^\"]*\"|b?'[^']*')"),
    re.compile(r"""(?<![\w])b(?:"[^"]*"|'[^']*')"""),
)


def redact(text: str) -> str:
    """Return the text without the secrets that can be recognised."""
    text = _WORD.sub(_without_broken_user_info, _USER_INFO.sub("", text))
    text = _PATH.sub(_redacted_path, text)
    for pattern in _PATTERNS:
        text = pattern.sub(_masked, text)
    return _WORD.sub(_without_account_or_query, text)


def redact_url(url: str) -> str:
    """Return a URL without its secrets, even if they contain spaces."""
    parts = urlsplit(url)
    path = _SEGMENT.sub(_redacted_segment, parts.path)
    return _without_patterns_of_site(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}")


def describe(error: BaseException) -> str:
    """Return an exception as one short line: its type and its redacted message.

    If requests or urllib3 have wrapped another exception in it, that cause comes first::

        Connection refused (ConnectionError: HTTPConnectionPool(host='pay.example', ...
    """
    message, cause = _message(error), _cause(error)
    if _WHERE.sub("", message) == cause:
        message, cause = cause, ""
    line = ": ".join(filter(None, [type(error).__name__, redact_line(message)]))
    return one_line(f"{redact_line(cause)} ({line})" if cause else line)


def redact_line(text: str, most: int = ERROR_LENGTH) -> str:
    """Return a text without secrets, as one line that any database can keep."""
    line = one_line(redact(text), 2 * ERROR_LENGTH)
    return _without_patterns_of_site(line)[:most]


def one_line(text: str, most: int = ERROR_LENGTH) -> str:
    """Return a text as one line that any database can keep, cut to ``most`` characters."""
    return _UNPRINTABLE.sub(" ", text).strip()[:most]


def _message(error: BaseException) -> str:
    if _is_no_http(error):
        return "The answer is not HTTP"
    try:
        return str(error)
    except Exception:
        # A broken ``__str__`` must not hide the exception that it belongs to.
        return "(it cannot be printed)"


def _cause(error: BaseException) -> str:
    """Return the message of the innermost wrapped exception; "" if none is wrapped."""
    innermost = layers(error)[0]
    if innermost is error or _is_no_http(error):
        return ""
    last = innermost.args[-1] if innermost.args else ""
    return _WHERE.sub("", last if isinstance(last, str) else _message(innermost))


def _is_no_http(error: object, depth: int = 0) -> bool:
    """Return whether an exception, or one of its arguments, quotes an answer that is not HTTP."""
    if isinstance(error, (BadStatusLine, UnknownProtocol)):
        return not isinstance(error, RemoteDisconnected)
    held = error.args if isinstance(error, BaseException) and depth < DEEPEST else ()
    return any(_is_no_http(each, depth + 1) for each in held)


# Replacements of what the patterns find ----------------------------------------------------------


def _redacted_path(found: re.Match[str]) -> str:
    path = found[1]
    authority = _AUTHORITY.match(path)
    begin = authority.end() if authority else 0
    return path[:begin] + _SEGMENT.sub(_redacted_segment, path[begin:])


def _redacted_segment(found: re.Match[str]) -> str:
    return MASK if looks_random(found[0]) else found[0]


def _without_broken_user_info(found: re.Match[str]) -> str:
    """Return a URL without its user info, even if the password has unescaped characters."""
    word = found[0]
    scheme, slashes, rest = word.partition("://")
    _, at, host = rest.rpartition("@")
    if at and host and _BROKEN_AUTHORITY.match(rest):
        return f"{scheme}{slashes}{host}"
    return word


def _without_account_or_query(found: re.Match[str]) -> str:
    """Return a word without ``user:password@`` and ``?name=value``, even outside a URL."""
    before, at, host = found[0].rpartition("@")
    account = re.split("[\"']", before)[-1]
    if host and _is_account(account):
        before = before.removesuffix(account) + MASK
    word = f"{before}{at}{host}"
    for mark in "?#":
        target, _, query = word.partition(mark)
        if target and "=" in query:
            word = target
    return word


def _is_account(text: str) -> bool:
    name, colon, password = text.partition(":")
    # What follows the colon is not the rest of a URL, nor a port.
    return bool(colon) and name != "mailto" and re.match(r"//|\d+/|$", password) is None


def _masked(found: re.Match[str]) -> str:
    return f"{found[1] if found.re.groups else ''}{MASK}"


# The patterns of the site ------------------------------------------------------------------------


def _without_patterns_of_site(text: str) -> str:
    """Return the beginning of a text, with the matches of ``CIRCUITS['REDACT']`` masked.

    The patterns see twice as much text as is returned, so that no match is cut short at the end.
    """
    seen = text[: 2 * ERROR_LENGTH]
    parts, end = [], 0
    for first, last in sorted(_found_by_site(seen)):
        if first >= ERROR_LENGTH:
            break
        if first >= end:
            parts += [seen[end:first], MASK]
        end = max(end, last)
    return "".join([*parts, seen[end : max(end, ERROR_LENGTH)]])


def _found_by_site(text: str) -> Iterator[tuple[int, int]]:
    from . import conf  # imported here, since a reader of Celery results may have no Django

    for pattern in conf.get().redact:
        yield from (found.span() for found in pattern.finditer(text) if found[0])
