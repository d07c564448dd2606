"""Answers the script by which the list and the page of a circuit refresh themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.helpers import AdminReadonlyField
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.templatetags.admin_list import results
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import Error
from django.db.transaction import non_atomic_requests
from django.forms import Script
from django.http import Http404, HttpRequest, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, reverse
from django.urls import path as url_path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET

from ..models import Circuit
from ..reports.readings import reading_of
from ..steering.permissions import may_see
from ..unavailable import logged, note_unreadable
from . import banner, display, folding
from .changelist import CircuitList
from .rates import Rate
from .sites import view_of

#: The script that keeps pages up to date, and rewrites times in the browser's time zone.
SCRIPT: Final = Script("circuits/live.js", defer=True)

#: How often each process answers one user: far more often than an open page asks.
RATE: Final = Rate(5)

#: The name of the URL that the script of the list requests.
LIST_ADDRESS: Final = "circuits_circuit_live"

SUMMARY: Final = "admin/circuits/circuit/summary.html"
BANNER: Final = "admin/circuits/banner.html"

Payload: TypeAlias = dict[str, Any]


class LiveAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """An admin of circuits whose list and pages stay up to date without being reloaded."""

    #: Seconds between two requests of an open page.
    poll_seconds = 3.0

    #: The sections of a circuit's page that are kept up to date, and their templates.
    live_parts = {
        name: f"admin/circuits/circuit/{name}.html"
        for name in ("status", "charts", "incidents", "history")
    }

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list that adds up its circuits in a summary."""
        return CircuitList

    def get_urls(self) -> list[URLPattern]:
        """Add the URLs that the script of a page requests."""
        return [
            url_path("live/", view_of(self, self.live_view), name=LIST_ADDRESS),
            url_path(
                "<path:object_id>/live/",
                view_of(self, self.live_one_view),
                name="circuits_circuit_live_one",
            ),
            *super().get_urls(),
        ]

    # Not atomic, or an outage of the circuits' database would raise while the request's transaction
    # begins, before the view can answer.
    @non_atomic_requests
    @method_decorator((require_GET, gzip_page))
    def live_view(self, request: HttpRequest) -> JsonResponse:
        """Return the present content of the list that has the same query string."""
        if not may_see(self, request):
            raise PermissionDenied
        return self._answer(request, lambda: self._list_now(request))

    @non_atomic_requests
    @method_decorator((require_GET, gzip_page))
    def live_one_view(self, request: HttpRequest, object_id: str) -> JsonResponse:
        """Return the present content of a circuit's page."""
        return self._answer(request, lambda: self._page_now(request, unquote(object_id)))

    def get_preserved_filters(self, request: HttpRequest) -> str:
        """Return the list's filters, so that links in refreshed rows keep them too."""
        match = request.resolver_match
        if match is None or match.url_name != LIST_ADDRESS:
            return super().get_preserved_filters(request)
        return urlencode({"_changelist_filters": request.GET.urlencode()})

    def live_of_list(self, circuits: Iterable[Circuit]) -> Payload:
        """Return what the script needs to know to start on the list."""
        return self._live(circuits, LIST_ADDRESS)

    def live_of(self, circuit: Circuit) -> Payload:
        """Return what the script needs to know to start on a circuit's page."""
        return self._live([circuit], "circuits_circuit_live_one", circuit.pk)

    def page_context(self, request: HttpRequest, circuit: Circuit) -> Payload:
        """Return the context of the sections of a circuit's page, both at first and live."""
        return {"opts": self.opts, "original": circuit, "live": self.live_of(circuit)}

    def _live(self, circuits: Iterable[Circuit], address: str, *args: Any) -> Payload:
        return {
            "url": reverse(f"admin:{address}", args=args, current_app=self.admin_site.name),
            "seconds": self.poll_seconds,
            "known": json.dumps([[each.pk, each.generation] for each in circuits]),
        }

    def _answer(self, request: HttpRequest, read: Callable[[], Payload]) -> JsonResponse:
        request.current_app = self.admin_site.name
        if not RATE.allows(request.user.pk):
            return _error(_("This is asked for too often; it goes on in a moment."), status=429)
        try:
            return JsonResponse(read())
        except Error as error:
            note_unreadable(error)
            return logged(_error(_("The circuits' database cannot be read."), status=503))
        except (Http404, IncorrectLookupParameters):
            return _error(_("What this page shows is not there any more."), status=404)

    def _list_now(self, request: HttpRequest) -> Payload:
        shown: Any = self.get_changelist_instance(request)
        shown.formset = None
        return {
            "parts": {
                "summary": render_to_string(SUMMARY, {"cl": shown}, request),
                **_banner_now(request),
            },
            "circuits": [
                {**_announcement(circuit), "cells": list(cells)}
                for circuit, cells in zip(shown.result_list, results(shown), strict=True)
            ],
        }

    def _page_now(self, request: HttpRequest, pk: str) -> Payload:
        circuit = self.get_object(request, pk)
        if not may_see(self, request, circuit):
            raise PermissionDenied
        if circuit is None:
            raise Http404
        context = self.page_context(request, display.shown_by_name(circuit))
        return {
            "parts": {**dict(self._rendered(context, request)), **_banner_now(request)},
            "fields": dict(self._fields(request, circuit)),
            "circuits": [_announcement(circuit)],
        }

    def _rendered(self, context: Payload, request: HttpRequest) -> Iterator[tuple[str, str]]:
        for name, template in self.live_parts.items():
            yield name, render_to_string(template, context, request)

    def _fields(self, request: HttpRequest, circuit: Circuit) -> Iterator[tuple[str, str]]:
        """Yield the names and contents of the form's read-only fields."""
        form = self.get_form(request, circuit)(instance=circuit)
        for name in self.get_readonly_fields(request, circuit):
            field = AdminReadonlyField(form, name, is_first=False, model_admin=self)
            yield field.field["name"], str(field.contents())


def _banner_now(request: HttpRequest) -> dict[str, str]:
    return {"banner": render_to_string(BANNER, banner.of_request(request), request)}


def _announcement(circuit: Circuit) -> Payload:
    """Return the key under which the page announces a change, and the announcement."""
    family = folding.family_on(circuit)
    return {
        "pk": circuit.pk,
        "generation": circuit.generation,
        "seconds": round(reading_of(circuit).time_in_state, 1),
        "words": folding.news(circuit, family) if family else display.announcement(circuit),
    }


def _error(sentence: str, status: int) -> JsonResponse:
    return JsonResponse({"error": sentence}, status=status)
