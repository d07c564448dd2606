"""Runs the response hooks of a caller, and notes what they raise and for which answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import requests

Hook = Callable[..., Any]


class Raised(NamedTuple):
    """An exception that a hook raised, and the answer for which it did."""

    error: Exception
    response: requests.Response


def send(
    session: requests.Session, method: str, url: str, *, hooks: Any = None, **kwargs: Any
) -> tuple[requests.Response, Exception | None]:
    """Send a request, as ``session.request`` does.

    Returns:
        The answer, and the exception that a hook of the caller raised for it, if any. The answer is
        as it would be without that hook: its body is read unless ``stream`` is true.
    """
    raised: list[Raised] = []
    try:
        return session.request(method, url, hooks=_noted(hooks, raised), **kwargs), None
    except Exception as error:
        for by_hook in raised:
            if by_hook.error is error:
                if not kwargs.get("stream"):
                    _ = by_hook.response.content
                return by_hook.response, error
        raise


def _noted(
    hooks: Mapping[str, Hook | Iterable[Hook]] | None, raised: list[Raised]
) -> dict[str, Any] | None:
    """Return the hooks, wrapped so that an exception of theirs is noted."""
    if not hooks:
        return None
    given = hooks.get("response") or ()
    each = (given,) if callable(given) else tuple(given)
    return {**hooks, "response": [partial(_run, hook, raised) for hook in each]}


def _run(hook: Hook, raised: list[Raised], response: requests.Response, **kwargs: Any) -> Any:
    try:
        return hook(response, **kwargs)
    except Exception as error:
        raised.append(Raised(error, response))
        raise
