"""The list's filter by family."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.admin import SimpleListFilter
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..models import Circuit
from ..steering.permissions import seen
from ..storage.families import in_family

#: How many families are offered, the largest ones.
OFFERED: Final = 20


class FamilyFilter(SimpleListFilter):
    """Lists the circuits of a family, that which is named like it among them.

    Each family is offered with the number of its members.
    """

    title = _("family")
    parameter_name = "family"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the families to choose from."""
        rows: QuerySet[Circuit] = seen(model_admin, request, model_admin.get_queryset(request))
        found = (
            rows.filter(family__gt="")
            .order_by()
            .values_list("family")
            .annotate(members=Count("pk"))
            .order_by("-members", "family")[:OFFERED]
        )
        return [(family, f"{family} ({members})") for family, members in found]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the family's circuits; all if none is asked for."""
        family = self.value()
        if family is None:
            return queryset
        return queryset.filter(in_family(family))
