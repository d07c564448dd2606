"""Serves the project with a strict Content-Security-Policy, as a careful site does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIEnvironment

from tests.serving import project

#: Scripts, styles, images and requests of the site's own, and nothing written into the page.
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


def strict_project(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    """Serve the project, with the policy in every answer."""

    def start_with_policy(
        status: str, headers: list[tuple[str, str]], *error: Any
    ) -> Callable[[bytes], object]:
        return start(status, [*headers, ("Content-Security-Policy", POLICY)], *error)

    return project(environ, start_with_policy)
