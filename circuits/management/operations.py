"""The ways to steer a circuit by hand, and what is said when it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from ..handle import CircuitHandle
from ..machine import Mode


@dataclass(frozen=True, slots=True)
class Operation:
    """One way to steer a circuit.

    Args:
        run: The handle's method, which returns whether anything changed.
        help: What it does.
        changed: What is said where it changed something.
        unchanged: What is said where it did not.
    """

    run: Callable[..., bool]
    help: Any
    changed: Any
    unchanged: Any

    def perform(self, handle: CircuitHandle, actor: str, reason: str) -> str:
        """Steer the circuit; return a sentence that says what happened."""
        changed = self.run(handle, actor=actor, words=reason)
        return str(self._said(handle, changed) % {"name": handle.name})

    def _said(self, handle: CircuitHandle, changed: bool) -> Any:
        if changed:
            return self.changed
        # The one operation that can be refused: a reset is not how a forced circuit is set free.
        stays_open = self.run is CircuitHandle.reset and handle.mode is Mode.FORCED_OPEN
        return _STAYS_OPEN if stays_open else self.unchanged


_STAYS_OPEN: Final = _(
    "%(name)s stays forced open; `circuits automatic` sets it back to work by itself."
)

OPERATIONS: Final = {
    "reset": Operation(
        run=CircuitHandle.reset,
        help=_("close circuits and forget their failures"),
        changed=_("%(name)s: reset."),
        unchanged=_("%(name)s: already closed, nothing to reset."),
    ),
    "force-open": Operation(
        run=CircuitHandle.force_open,
        help=_("refuse all calls until somebody sets it back"),
        changed=_("%(name)s: forced open."),
        unchanged=_("%(name)s: already forced open."),
    ),
    "force-closed": Operation(
        run=CircuitHandle.force_closed,
        help=_("let all calls pass until somebody sets it back"),
        changed=_("%(name)s: forced closed."),
        unchanged=_("%(name)s: already forced closed."),
    ),
    "observe": Operation(
        run=CircuitHandle.observe,
        help=_("work as usual but refuse nothing, to try a policy"),
        changed=_("%(name)s: observing, no call is refused."),
        unchanged=_("%(name)s: already observing."),
    ),
    "automatic": Operation(
        run=CircuitHandle.automatic,
        help=_("go back to working by itself"),
        changed=_("%(name)s: automatic."),
        unchanged=_("%(name)s: already automatic."),
    ),
}
