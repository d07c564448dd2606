"""Announces a change of state or mode: a log line and a signal, after the commit."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from ..core import machine
from ..core.status import Change, Mode, Reason, State
from ..links import incident_link
from ..models import Circuit, Transition
from ..signals import state_changed
from . import testruns
from .contract import Changed

logger = logging.getLogger("circuits")


def announce(changed: Changed[Any]) -> None:
    """Log and signal a change after its commit; do nothing if neither state nor mode changed."""
    transition = changed.transition
    if transition is None:
        if changed.step.change is not None:
            log_change(changed, changed.step.change)
        return

    def now() -> None:
        log_change(changed, transition)
        name = changed.before.name
        state_changed.send_robust(sender=Circuit, name=name, transition=transition)

    alias = transition._state.db
    connection = None if alias is None else testruns.connection(alias)
    # Announce at once, unless the site shares the alias and is in a transaction of its own.
    if connection is not None and connection.in_atomic_block:
        connection.on_commit(now)
    else:
        now()


def log_change(changed: Changed[Any], change: Transition | Change) -> None:
    """Log a change of state, mode or both, or of injected faults: what changed, and why.

    If the circuit is down, the line says for how long.

    Args:
        change: The change, as the history or the machine has it.
    """
    name, about = changed.before.name, "; ".join(_about(changed, change))
    if change.reason == Reason.INJECTION:
        logger.warning("Changed the injected faults (%s): %s", name, about)
    if change.from_mode != change.to_mode:
        logger.warning(
            "Changed mode from %s to %s (%s): %s", change.from_mode, change.to_mode, name, about
        )
    if change.from_state != change.to_state:
        logger.log(
            logging.WARNING if change.to_state == State.OPEN else logging.INFO,
            "Changed state from %s to %s (%s): %s",
            *(change.from_state, change.to_state, name, about),
        )


def _about(changed: Changed[Any], change: Transition | Change) -> Iterator[str]:
    """Yield why a circuit changed, how long it has been down, and how many calls it refused."""
    yield _cause(change)
    after = changed.after
    # Once a circuit has closed, only its row from before the change knows the incident.
    down = changed.before if after.status.down_since is None else after
    since, now = down.status.down_since, after.status.changed_at
    if since is None or now is None:
        return
    if now > since:
        yield f"down for {now - since:.1f} s"
    if down.status.reopen_count:
        yield f"failed trials: {down.status.reopen_count}"
    if down.refused:
        yield f"calls refused: {down.refused}"
    if after.status.retry_at is not None and after.status.mode is not Mode.FORCED_OPEN:
        yield f"next trial in {max(0.0, after.status.retry_at - now):.1f} s"
    if link := incident_link(after.key, machine.opening_of(down.status)):
        yield link


def _cause(change: Transition | Change) -> str:
    """Return why a circuit changed, in English, whatever language is active."""
    cause = Reason(change.reason).value.replace("_", " ")
    if not isinstance(change, Transition):
        return cause
    by = f" (by {change.actor})" if change.actor else ""
    return ": ".join(filter(None, [cause, change.detail])) + by
