"""Unwraps exceptions that requests and urllib3 have wrapped in others."""

from __future__ import annotations

from typing import Final

#: How deep an exception may be wrapped in others.
DEEPEST: Final = 5


def layers(error: BaseException) -> list[BaseException]:
    """Return an exception and those that requests and urllib3 have wrapped in it, innermost first.

    It never raises, even if reading an attribute of the exception does.
    """
    found = [error]
    while len(found) < DEEPEST and (inner := _wrapped(found[-1])) is not None:
        found.append(inner)
    return found[::-1]


def _wrapped(error: BaseException) -> BaseException | None:
    if type(error).__module__ not in ("requests.exceptions", "urllib3.exceptions"):
        return None
    try:
        held = (getattr(error, "reason", None), *error.args)
    except Exception:
        return None
    return next((each for each in held if isinstance(each, BaseException)), None)
