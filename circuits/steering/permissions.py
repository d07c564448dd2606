"""Decides who may see and steer which circuits. Every page asks here first.

The admin class that circuits are registered with has the last word. If it overrides
``has_view_permission`` or ``has_change_permission``, it may decide differently for each circuit, so
it is asked about each one. If it does not, one question about the model is enough.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, resolve, reverse

from ..models import Circuit, Transition

Rows: TypeAlias = QuerySet[Any]
Admin: TypeAlias = "admin.ModelAdmin[Any]"

#: The most circuits that one page asks the admin about one by one.
MOST_ASKED: Final = 10_000

#: The methods that a site overrides to decide by circuit; Django's own go by the model alone.
_RULES: Final = (
    "has_view_permission",
    "has_change_permission",
    "has_view_or_change_permission",
)


def has_perm(request: HttpRequest, name: str) -> bool:
    """Return whether the user of a request has a permission; false if there is no user."""
    user: Any = getattr(request, "user", None)
    return hasattr(user, "has_perm") and bool(user.has_perm(name))


def is_staff(request: HttpRequest) -> bool:
    """Return whether the user of a request is active staff, as the admin asks."""
    user = getattr(request, "user", None)
    return bool(getattr(user, "is_active", False) and getattr(user, "is_staff", False))


def username_of(request: HttpRequest) -> str:
    """Return the name of the user of a request, for the history."""
    user: Any = request.user
    return str(user.get_username() if hasattr(user, "get_username") else user)


def has_rule_for_each(circuits: Admin) -> bool:
    """Return whether an admin of circuits decides for each circuit by itself."""
    return any(
        getattr(type(circuits), name) is not getattr(admin.ModelAdmin, name) for name in _RULES
    )


def may_see(circuits: Admin, request: HttpRequest, circuit: Circuit | None = None) -> bool:
    """Return whether a request may see a circuit, or any circuit if none is given."""
    return circuits.has_view_or_change_permission(request, circuit)


def may_operate(circuits: Any, request: HttpRequest, circuit: Circuit | None = None) -> bool:
    """Return whether a request may steer a circuit, for which it must be allowed to see it too."""
    is_seen = may_see(circuits, request, circuit)
    return is_seen and bool(circuits.has_operate_permission(request, circuit))


def seen(circuits: Admin, request: HttpRequest, rows: Rows) -> Rows:
    """Return those of ``rows`` that a request may see.

    If the admin has to be asked about each, only the first :data:`MOST_ASKED` are considered. A
    site with more circuits overrides ``get_queryset`` too, which the database evaluates.
    """
    if not has_rule_for_each(circuits):
        return rows
    keys = [each.pk for each in rows[:MOST_ASKED] if may_see(circuits, request, each)]
    return rows.filter(pk__in=keys)


def seen_history(
    circuits: Admin | None, request: HttpRequest, changes: Rows, key: Any = None
) -> Rows:
    """Return those of ``changes`` whose circuit a request may see.

    Args:
        circuits: The admin of circuits; None on an admin site that has none.
        key: The primary key of the circuit, if all changes are of one.
    """
    if circuits is None or not hides_any(circuits, request):
        return changes
    rows = circuits.get_queryset(request)
    one_or_all = rows if key is None else rows.filter(pk=key)
    return changes.filter(circuit__in=seen(circuits, request, one_or_all).order_by().values("pk"))


def may_see_history(circuits: Admin | None, request: HttpRequest, change: Transition) -> bool:
    """Return whether a request may see the circuit of a change."""
    it = Transition.objects.filter(pk=change.pk)
    found = seen_history(circuits, request, it, change.circuit_id)
    return found is it or found.exists()


def hides_any(circuits: Admin, request: HttpRequest) -> bool:
    """Return whether the admin may hide circuits from a request.

    It may if it decides for each circuit, or if its ``get_queryset`` leaves rows out.
    """
    query = circuits.get_queryset(request).query
    is_narrowed = query.where or query.is_sliced or query.combinator
    return has_rule_for_each(circuits) or bool(is_narrowed)


# Outside the admin --------------------------------------------------------------------------------


def circuits_on(site: admin.AdminSite) -> Admin | None:
    """Return the admin of circuits on an admin site; None if it has none."""
    return site.get_model_admin(Circuit) if site.is_registered(Circuit) else None


class Sight(NamedTuple):
    """What a member of staff may see outside the admin.

    Args:
        circuits: The circuits that they may see.
        is_all: Whether those are all circuits.
        has_texts: Whether they may also read errors and the reasons that people gave.
    """

    circuits: Rows
    is_all: bool
    has_texts: bool


def sight_of(request: HttpRequest) -> Sight:
    """Return what a member of staff may see outside the admin, such as on the health page.

    The admin site that the ``admin:`` URL names lead to decides. If it has no rule for single
    circuits, all staff may see which circuits there are. To read the texts, they need the
    permission to view circuits.
    """
    circuits = _deciding_admin()
    if circuits is None:
        has_texts = has_perm(request, "circuits.view_circuit")
        return Sight(Circuit.objects.all(), True, has_texts)
    is_let_in = circuits.admin_site.has_permission(request)
    has_texts = is_let_in and may_see(circuits, request)
    if not hides_any(circuits, request):
        return Sight(Circuit.objects.all(), True, has_texts)
    found = seen(circuits, request, circuits.get_queryset(request))
    return Sight(found if is_let_in else found.none(), False, has_texts)


def _deciding_admin() -> Admin | None:
    try:
        page = resolve(reverse("admin:circuits_circuit_changelist"))
    except NoReverseMatch:
        return None
    # Django puts it there, for its own use.
    return getattr(page.func, "model_admin", None)
