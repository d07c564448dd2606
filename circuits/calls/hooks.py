"""Response hooks of a caller: which answer one raised for, and what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import requests

Hook = Callable[..., Any]


class Raised(NamedTuple):
    """What a hook raised, and for which answer."""

    error: Exception
    response: requests.Response


def send(
    session: requests.Session, method: str, url: str, *, hooks: Any = None, **kwargs: Any
) -> tuple[requests.Response, Exception | None]:
    """Send a request, as ``session.request`` does.

    Returns:
        The answer, and what a hook of the caller's raised for it, if one did. The answer is as it
        would be without that hook: read, unless ``stream`` is asked for.
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
    """Return the hooks, so wrapped that what one raises is noted."""
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
