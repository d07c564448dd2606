"""The panel on the admin's first page: how many circuits are down, and which one is worst."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import Error
from django.db.models import Case, QuerySet, When
from django.http import HttpRequest
from django.urls import NoReverseMatch, resolve, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..core.status import Mode, State
from ..fields import with_clock
from ..reports import health
from ..reports.readings import Reading, reading_of
from ..reports.words import duration, grouped
from ..steering.permissions import circuits_on, may_see, seen
from ..unavailable import note_unreadable
from .paging import BoundedPaginator


def of_request(request: HttpRequest) -> dict[str, Any]:
    """Return the context of the panel; empty for users who may not see circuits on this admin site.

    If the circuits' database is down, the panel says so, since the first page must not fail.
    """
    circuits = _circuits(request)
    if circuits is None or not may_see(circuits, request):
        return {}
    try:
        return _panel(circuits, request)
    except Error as error:
        note_unreadable(error)
        return {"sentence": _("The circuits' database cannot be read."), "is_bad": True}


def _circuits(request: HttpRequest) -> Any:
    """Return the admin of circuits on the admin site of the request; None if it has none."""
    site = getattr(resolve(request.path_info).func, "admin_site", admin.site)
    return circuits_on(site)


def _panel(circuits: Any, request: HttpRequest) -> dict[str, Any]:
    rows = seen(circuits, request, circuits.get_queryset(request))
    counted = health.counted(BoundedPaginator.limit + 1, rows)
    down = counted[State.OPEN.value] + counted[State.HALF_OPEN.value]
    worst = _worst(rows) if down else None
    site = circuits.admin_site.name
    return {
        "is_bad": bool(down),
        "sentence": _well(counted["total"]) if worst is None else _bad(down, worst),
        "page": "" if worst is None else _url("circuit_change", site, worst.circuit.pk),
        "list": _url("circuit_changelist", site),
        "incidents": _url("opening_changelist", site),
    }


def _worst(rows: QuerySet[Any]) -> Reading | None:
    """Return the worst circuit: the one that has been down for the longest.

    Open circuits come before half-open ones, and those that nobody forced open come first.
    """
    down = with_clock(rows).exclude(state=State.CLOSED.value).exclude(mode=Mode.OBSERVE.value)
    is_forced = Case(When(mode=Mode.FORCED_OPEN.value, then=1), default=0)
    found = down.order_by(is_forced, "urgency", "down_since", "name").first()
    return None if found is None else reading_of(found)


def _well(number: int) -> str:
    if number > BoundedPaginator.limit:
        return _("No circuit is down.")
    text = ngettext("%s circuit, and it is not down.", "%s circuits, none of them down.", number)
    return text % grouped(number)


def _bad(number: int, worst: Reading) -> str:
    sentence = ngettext(
        "%(number)s down: %(name)s, for %(time)s",
        "%(number)s down, the worst: %(name)s, for %(time)s",
        number,
    )
    return sentence % {
        "number": grouped(number),
        "name": str(worst.circuit),
        "time": duration(worst.down_for),
    }


def _url(page: str, site: str, *key: int) -> str:
    try:
        return reverse(f"admin:circuits_{page}", args=key, current_app=site)
    except NoReverseMatch:
        return ""
