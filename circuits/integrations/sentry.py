"""Tells Sentry of changes of state: as breadcrumbs and, by choice, an issue for each incident.

Needs `sentry_sdk`, which the site sets up itself.
"""

from __future__ import annotations

from typing import Any, Final

import sentry_sdk

from ..core.status import State
from ..links import incident_link
from ..models import Transition
from ..signals import state_changed

_LEVELS: Final = {State.OPEN: "warning"}


def leave_breadcrumb(*, name: str, transition: Transition, **_: Any) -> None:
    """Leave a breadcrumb where a circuit opens, half opens or closes."""
    if transition.from_state == transition.to_state:
        return
    sentry_sdk.add_breadcrumb(
        category="circuits",
        level=_LEVELS.get(State(transition.to_state), "info"),
        message=f"{name}: from {transition.from_state} to {transition.to_state}",
        data={"circuit": name, "reason": transition.reason},
    )


def make_issue(*, name: str, transition: Transition, **_: Any) -> None:
    """Make an issue where an incident begins; a failed trial does not begin another one."""
    if (transition.from_state, transition.to_state) != (State.CLOSED, State.OPEN):
        return
    generation = transition.generation
    with sentry_sdk.new_scope() as scope:
        scope.fingerprint = ["circuits", name, str(generation)]
        scope.set_tag("circuit.name", name)
        scope.set_context(
            "circuit",
            {
                "reason": transition.reason,
                "incident": incident_link(transition.circuit_id, generation),
            },
        )
        sentry_sdk.capture_message(f"The circuit {name} has opened", level="error")


def connect(*, issues: bool) -> None:
    """Start telling Sentry.

    Args:
        issues: Whether to make an issue for each incident.
    """
    state_changed.connect(leave_breadcrumb)
    if issues:
        state_changed.connect(make_issue)


def disconnect() -> None:
    """Stop telling Sentry."""
    state_changed.disconnect(leave_breadcrumb)
    state_changed.disconnect(make_issue)
