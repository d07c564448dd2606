"""Sessions of requests that send only the credentials given for the call itself."""

from __future__ import annotations

import os
from http.cookiejar import DefaultCookiePolicy
from threading import local
from typing import Any

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.cookies import RequestsCookieJar
from requests.structures import CaseInsensitiveDict
from requests.utils import get_auth_from_url

from .uploads import watching

_local = local()


def of_thread() -> requests.Session:
    """Return this thread's session, which keeps its connections and is used by no other thread."""
    session: requests.Session | None = getattr(_local, "session", None)
    if session is None:
        session = _local.session = CallSession()
    return session


def _leave_session_to_parent() -> None:
    """Forget the session in a forked child, since two processes would mix up their answers."""
    _local.session = None


os.register_at_fork(after_in_child=_leave_session_to_parent)


class CallSession(requests.Session):
    """The session of ``circuits.call``: shared by all callers of a thread, so it keeps no cookies.

    It reads the environment as requests does, for proxies, certificates and ``.netrc``. But the
    caller's own credentials, in ``auth``, in an ``Authorization`` header or in the URL, win over
    those of ``.netrc``, and after a redirect nothing of ``.netrc`` is sent.
    """

    def __init__(self) -> None:
        super().__init__()
        jar = RequestsCookieJar()
        jar.set_policy(no_cookies())
        self.cookies = jar
        self.mount("http://", _Adapter())
        self.mount("https://", _Adapter())

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare a request with the caller's credentials, if there are any."""
        if not request.auth:
            request.auth = _given(request)
        return super().prepare_request(request)

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Remove the credentials from a request that a redirect sends to another host."""
        before, after = response.request.url, prepared_request.url
        if self.should_strip_auth(before, after):  # type: ignore[no-untyped-call]
            prepared_request.headers.pop("Authorization", None)


class _Adapter(HTTPAdapter):
    """Marks an exception that comes from the body of a request."""

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        with watching(request):
            return super().send(request, *args, **kwargs)


class PlainSession(CallSession):
    """A session for one request of the site itself: a probe, or a call of a webhook.

    It reads no ``.netrc``, follows no redirects, and does not read their bodies.

    Args:
        adapter: The adapter that sends the request.
    """

    def __init__(self, adapter: BaseAdapter) -> None:
        super().__init__()
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare a request, with no credentials but those in its URL or headers."""
        request.auth = request.auth or _given(request) or _as_it_is
        return super().prepare_request(request)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return no target, so that requests follows no redirect and reads no body for it."""


def no_cookies() -> DefaultCookiePolicy:
    """Return a cookie policy that keeps nothing.

    All callers share the session, so a cookie kept for one would be sent for another.
    """
    return DefaultCookiePolicy(allowed_domains=[])


def _given(request: requests.Request) -> object:
    """Return the credentials that the caller gave a request; None if there are none."""
    if "Authorization" in CaseInsensitiveDict(request.headers or {}):
        return _as_it_is
    in_url = get_auth_from_url(request.url)
    return in_url if any(in_url) else None


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Return a request unchanged. As ``auth``, this keeps requests from looking for credentials."""
    return request
