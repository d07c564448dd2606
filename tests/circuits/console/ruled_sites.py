"""Sites whose admin hides some circuits from everybody, by a rule for each or by its query."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import URLPattern, URLResolver, include, path

from circuits.admin import CircuitAdmin, IncidentAdmin, TransitionAdmin
from circuits.models import Circuit, Opening, Transition

#: How the names of circuits begin that nobody may see, change or steer.
HIDDEN, FIXED, LEFT_ALONE = "hidden", "fixed", "left alone"


class RuledAdmin(CircuitAdmin):
    """An admin with a rule for single circuits."""

    list_editable = ("threshold",)
    list_display: Any = (*CircuitAdmin.list_display, "threshold")
    asked = 0

    def has_view_permission(self, request: HttpRequest, obj: Circuit | None = None) -> bool:
        RuledAdmin.asked += obj is not None
        return super().has_view_permission(request, obj) and not _begins(obj, HIDDEN)

    def has_change_permission(self, request: HttpRequest, obj: Circuit | None = None) -> bool:
        return super().has_change_permission(request, obj) and not _begins(obj, HIDDEN, FIXED)

    def has_operate_permission(self, request: HttpRequest, obj: Circuit | None = None) -> bool:
        return super().has_operate_permission(request, obj) and not _begins(obj, LEFT_ALONE)


class NarrowedAdmin(CircuitAdmin):
    """An admin that leaves circuits out of its query."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).exclude(name__startswith=HIDDEN)


def _begins(circuit: Circuit | None, *beginnings: str) -> bool:
    return circuit is not None and circuit.name.startswith(beginnings)


def addresses(site: AdminSite, circuits: type[CircuitAdmin]) -> list[URLPattern | URLResolver]:
    """Return the URLs of a project with such an admin."""
    site.register(Circuit, circuits)
    site.register(Transition, TransitionAdmin)
    site.register(Opening, IncidentAdmin)
    site.index_template = "admin/circuits/index.html"
    return [path("admin/", site.urls), path("circuits/", include("circuits.urls"))]
