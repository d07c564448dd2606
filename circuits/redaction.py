"""Keeping secrets out of rows, logs and metrics: URLs lose user info, query and fragment."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

ERROR_LENGTH: Final = 500

# Everything between the scheme and the last @ of the authority.
_USER_INFO: Final = re.compile(r"(?<=://)[^\s/?#]*@")
# A query or fragment behind a slash: of a whole URL, or of the bare path that urllib3 names. It
# matches a path without one too, so that a long text is read once and not from every slash anew.
_QUERY: Final = re.compile(r"(/[^\s?#]*)(?:[?#]\S*)?")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def redact(text: str) -> str:
    """Return the text with the secrets taken out of every URL in it."""
    return _QUERY.sub(r"\1", _USER_INFO.sub("", text))


def redact_url(url: str) -> str:
    """Return a URL without its secrets, also where they hold spaces."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        # A broken exception is somebody's mistake, and must not take the place of theirs.
        return "(it cannot be printed)"


def describe(error: BaseException) -> str:
    """Return an exception as one short line that can be stored: its type and redacted message."""
    message = one_line(redact(_message(error)))
    kind = type(error).__name__
    return one_line(f"{kind}: {message}" if message else kind)


def one_line(text: str, most: int = ERROR_LENGTH) -> str:
    """Return a text as one line that any database can keep, cut to so many characters."""
    return _UNPRINTABLE.sub(" ", text).strip()[:most]
