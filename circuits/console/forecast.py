"""Forecasts a circuit's policy on its page, and the values that are typed but not saved."""

from __future__ import annotations

from typing import Any

from ..models import POLICY_FIELDS, Circuit
from ..reports.forecast import Basis, basis_of, of_traffic, plan_of, sentences
from ..reports.policies import cautions, in_words


def of_policy(saved: Circuit, now: float, typed: Circuit | None = None) -> dict[str, Any]:
    """Return the context of the page's forecast.

    Args:
        saved: The circuit as it is.
        now: The present time, in seconds since 1970 on the database's clock.
        typed: A copy of the circuit with the typed values, which are not saved; None for none.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    basis = basis_of(saved, now)
    is_other = typed is not None and _policy(typed) != _policy(saved)
    policies = [saved, typed] if is_other else [saved]
    return {
        "traffic": of_traffic(basis) if basis else "",
        "policies": [_in_words(each, basis) for each in policies],
        "is_unchanged": typed is not None and not is_other,
    }


def _policy(circuit: Circuit | None) -> list[Any]:
    return [getattr(circuit, name) for name in POLICY_FIELDS]


def _in_words(circuit: Any, basis: Basis | None) -> dict[str, Any]:
    plan = plan_of(circuit)
    return {
        "words": in_words(plan),
        "cautions": list(cautions(plan)),
        "expected": [] if basis is None else sentences(plan, basis),
    }
