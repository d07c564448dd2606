"""Families: circuits whose names begin alike, as ``payments/refunds`` and ``payments/charges``.

A family is only a name, and needs no circuit of its own. If there is a circuit ``payments``, a new
member takes its policy, and a change of that policy is carried to the members that still have the
old value. A family has no state: a failing member opens neither another one nor ``payments``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from .. import conf
from ..core.families import family_of
from ..models import POLICY_FIELDS, Circuit

#: The policy fields that a family shares. The probe URL is each member's own.
SHARED: Final = tuple(name for name in POLICY_FIELDS if name != "probe_url")


def in_family(*names: str) -> Q:
    """Return the condition that finds the circuits of families, and those named like a family."""
    return Q(family__in=names) | Q(name__in=names)


def values_of_new(alias: str, name: str) -> dict[str, Any]:
    """Return the field values of a new circuit: those of its family, overridden by its own.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    family = family_of(name)
    rows = Circuit.objects.using(alias).filter(name=family) if family else None
    shared = None if rows is None else rows.order_by().values(*SHARED).first()
    return conf.get().circuit(name, shared)


def save_policy(circuit: Circuit, fields: Sequence[str]) -> int:
    """Save policy fields of a circuit, and carry them to the members of its family.

    A member takes a new value if it still has the old one.

    Returns:
        How many members have taken a value.
    """
    alias = circuit._state.db
    with transaction.atomic(using=alias):
        rows = Circuit.objects.using(alias)
        before = rows.filter(pk=circuit.pk).order_by().values(*SHARED).first() or {}
        circuit.save(update_fields=fields)
        changed = [
            field
            for field in SHARED
            if field in fields and field in before and before[field] != getattr(circuit, field)
        ]
        # Locked in the order in which processes flush their tallies.
        members = rows.filter(family=circuit.name).order_by("name").select_for_update()
        keys = list(members.values_list("pk", flat=True)) if changed else []
        took: set[int] = set()
        for field in changed:
            alike = rows.filter(pk__in=keys, **{field: before[field]}).order_by()
            took.update(alike.values_list("pk", flat=True))
            alike.update(**{field: getattr(circuit, field)})
    return len(took)


def alike(rows: QuerySet[Circuit]) -> QuerySet[Circuit]:
    """Return the members whose policy is that of their family's circuit in every field."""
    heads = Circuit.objects.using(rows.db).filter(
        name=OuterRef("family"), **{field: OuterRef(field) for field in SHARED}
    )
    return rows.filter(Exists(heads.order_by()), family__gt="", probe_url="")


def headless(rows: QuerySet[Circuit]) -> QuerySet[Circuit]:
    """Return the members of families that have no circuit of their own."""
    heads = Circuit.objects.using(rows.db).filter(name=OuterRef("family")).order_by()
    return rows.filter(~Exists(heads), family__gt="")
