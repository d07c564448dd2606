"""Families in the admin's list: a filter, the URL that unfolds one, selecting all of one."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponseRedirect, QueryDict
from django.urls import URLPattern, reverse
from django.urls import path as url_path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from ..models import Circuit
from ..steering.permissions import seen
from ..storage.families import in_family
from ..validation import NAME_LENGTH
from .folding import toggled
from .paging import BoundedPaginator
from .sites import view_of

#: The name of the URL that unfolds or folds a family.
UNFOLD_ADDRESS: Final = "circuits_circuit_unfold"

#: How many families the filter offers; it offers the largest ones.
OFFERED: Final = 20


class FamilyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """An admin of circuits whose list shows a family as one row."""

    def get_urls(self) -> list[URLPattern]:
        """Add the URL to which the row of a family links."""
        view = view_of(self, self.unfold_view)
        return [url_path("unfold/<str:family>/", view, name=UNFOLD_ADDRESS), *super().get_urls()]

    @method_decorator(require_safe)
    def unfold_view(self, request: HttpRequest, family: str) -> HttpResponseRedirect:
        """Redirect to the list with the family unfolded, or folded if it was unfolded before.

        The URL of the list names the unfolded families, so the list stays as it is when it is
        reloaded, refreshes itself, or is opened by somebody else.

        Raises:
            PermissionDenied: The user may see no circuits.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        query = QueryDict(request.GET.get("_changelist_filters", ""))
        name, site = "admin:circuits_circuit_changelist", self.admin_site.name
        return HttpResponseRedirect(f"{reverse(name, current_app=site)}?{toggled(query, family)}")

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Perform an action on the selected circuits, and on all circuits of selected families."""
        request.POST = one_by_one(request.POST, queryset)  # type: ignore[assignment]
        return super().response_action(request, queryset, *args, **kwargs)


def one_by_one(posted: QueryDict, circuits: QuerySet[Circuit]) -> QueryDict:
    """Return a list's form data with the circuits of each selected family in place of the family.

    Args:
        circuits: The circuits of the list, on all its pages.
    """
    selected = posted.getlist(ACTION_CHECKBOX_NAME)
    families = [key for key in selected if key.endswith("/") and _is_name(key[:-1])]
    if not families:
        return posted
    names = [key[:-1] for key in families]
    members = circuits.filter(in_family(*names)).values_list("pk", flat=True)
    found = map(str, members[: BoundedPaginator.limit])
    others = [key for key in selected if key not in families]
    changed = posted.copy()
    changed.setlist(ACTION_CHECKBOX_NAME, list(dict.fromkeys([*others, *found])))
    return changed


def _is_name(text: str) -> bool:
    return 0 < len(text) <= NAME_LENGTH and "\0" not in text


class FamilyFilter(SimpleListFilter):
    """Lists the circuits of a family, including the circuit that is named like the family.

    Each choice shows the number of circuits.
    """

    title = _("family")
    parameter_name = "family"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the largest families as choices."""
        rows: QuerySet[Circuit] = seen(model_admin, request, model_admin.get_queryset(request))
        members = (
            rows.filter(family__gt="")
            .order_by()
            .values_list("family")
            .annotate(members=Count("pk"))
            .order_by("-members", "family")[:OFFERED]
        )
        found = dict(members)
        heads = rows.filter(name__in=found).order_by().values_list("name", flat=True)
        for name in heads if found else ():
            found[name] += 1
        return [(family, f"{family} ({number})") for family, number in found.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the circuits of the chosen family; all circuits if none is chosen."""
        family = self.value()
        if family is None:
            return queryset
        return queryset.filter(in_family(family))
