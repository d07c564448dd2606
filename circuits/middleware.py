"""Middleware that answers 503 with ``Retry-After`` when a circuit refuses a call."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from . import unavailable
from .exceptions import CircuitOpenError, RemoteCallFailedException


class CircuitOpenMiddleware(MiddlewareMixin):
    """Answers 503 with ``Retry-After`` when a view raises :class:`circuits.CircuitOpenError`.

    A browser gets the template ``circuits/unavailable.html``; a client that accepts JSON gets JSON.
    The response does not name the circuit, which does not concern visitors. Refusals are not logged
    as errors of the site, not even those that Django REST framework answers.
    """

    # Not process_response, for which Django would run each async request in a thread.
    def __call__(self, request: HttpRequest) -> Any:
        """Answer a request, sync or async."""
        if self.async_mode:
            return self.__acall__(request)
        return _heard(self.get_response(request))

    async def __acall__(self, request: HttpRequest) -> Any:
        """Answer a request in an event loop."""
        response: Any = self.get_response(request)
        return _heard(await response)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer a refusal with 503; leave any other exception alone.

        An exception group counts as a refusal if it holds nothing but exceptions of circuits, and
        one of them is a refusal.
        """
        leaves = list(_leaves(exception))
        refusals = [each for each in leaves if isinstance(each, CircuitOpenError)]
        if not refusals or not all(isinstance(each, RemoteCallFailedException) for each in leaves):
            return None
        return unavailable.answer(request, max(refusals, key=attrgetter("retry_after")))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _heard(response: Any) -> Any:
    """Keep Django from logging a response as an error if a framework made it from a refusal."""
    if response.status_code == 503:
        data = getattr(response, "data", None)
        detail = data.get("detail") if isinstance(data, dict) else None
        refusal = getattr(detail, "refusal", None)
        if isinstance(refusal, CircuitOpenError):
            unavailable.note(refusal)
            unavailable.logged(response)
    return response
