"""``circuits forecast``: forecasts what a policy does with a circuit's traffic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from math import isinf
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ..core.forecast import Plan, forecast
from ..models import Circuit
from ..reports.forecast import Basis, of_traffic, plan_of, sentences
from ..reports.policies import cautions, in_words
from .arguments import add_policy_to_try


def add_forecast_arguments(parser: CommandParser) -> None:
    """Declare the arguments of ``circuits forecast``."""
    add_policy_to_try(
        parser, _("a value to try, such as threshold=3 or failure_rate=30%%; nothing is saved")
    )


def forecast_lines(circuit: Circuit, changed: Circuit | None, basis: Basis | None) -> Iterator[str]:
    """Yield the lines of the forecast.

    Args:
        changed: The circuit with the values to try; None if no values were given.
        basis: The traffic to forecast from; None if no calls are kept.
    """
    yield of_traffic(basis) if basis else _("No calls are kept, so nothing can be forecast.")
    if changed is None:
        yield from _of_plan(plan_of(circuit), basis)
        return
    for title, each in ((_("As it is:"), circuit), (_("With these values:"), changed)):
        yield from ("", title, *_of_plan(plan_of(each), basis))


def _of_plan(plan: Plan, basis: Basis | None) -> Iterator[str]:
    yield in_words(plan)
    yield from (f"! {caution}" for caution in cautions(plan))
    if basis is not None:
        yield from (f"- {sentence}" for sentence in sentences(plan, basis))


def as_values(circuit: Circuit, changed: Circuit | None, basis: Basis | None) -> dict[str, Any]:
    """Return the forecast as numbers for JSON; an infinite number becomes null."""
    values: dict[str, Any] = {"traffic": None if basis is None else asdict(basis)}
    for key, each in (("now", circuit), ("changed", changed)):
        if basis is not None and each is not None:
            values[key] = _finite(asdict(forecast(plan_of(each), basis.traffic)))
    return values


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return None if isinstance(value, float) and isinf(value) else value
