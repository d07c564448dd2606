"""The banner on every page of the circuits' admin while faults are injected anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.db import Error
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..reports import injections
from ..reports.injections import Injected
from ..reports.words import grouped
from ..steering.permissions import circuits_on, may_see
from ..unavailable import note_unreadable
from . import display
from .sites import site_of

#: The most circuits that the banner names.
NAMED: Final = 5


def of_request(request: HttpRequest) -> dict[str, Any]:
    """Return the context of the banner; empty if the user sees no circuit with injected faults.

    A page that cannot read the circuits says so itself, so the banner leaves it at that.
    """
    site = site_of(request)
    circuits = None if site is None else circuits_on(site)
    if circuits is None or not may_see(circuits, request):
        return {}
    try:
        found = injections.under_way(circuits.get_queryset(request))
    except Error as error:
        note_unreadable(error)
        return {}
    visible = [each for each in found if may_see(circuits, request, each.reading.circuit)]
    return {"faults": list(_sentences(visible, circuits.admin_site.name))}


def _sentences(found: list[Injected], site: str) -> Iterator[str]:
    for each in found[:NAMED]:
        yield display.filled(
            _("%(name)s until %(until)s (%(what)s)"),
            name=_link(each, site),
            until=display.minute_of_day(each.until, each.reading.now),
            what=each.words,
        )
    more = len(found) - NAMED
    if more > 0:
        yield ngettext("%s more circuit", "%s more circuits", more) % grouped(more)


def _link(injected: Injected, site: str) -> SafeString | str:
    circuit = injected.reading.circuit
    try:
        url = reverse("admin:circuits_circuit_change", args=(circuit.pk,), current_app=site)
    except NoReverseMatch:
        return str(circuit)
    return format_html('<a href="{}">{}</a>', url, circuit)
