"""The ways to steer a circuit by hand, and what is said when it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from django.utils.translation import gettext_lazy as _

from .handle import CircuitHandle, get
from .machine import Mode


class Done(NamedTuple):
    """What came of an operation: whether anything is different, and a sentence about it."""

    changed: bool
    message: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One way to steer a circuit.

    Args:
        run: The handle's method, which returns whether anything changed.
        mode: The mode it puts the circuit in, if it does.
        label: What its button says.
        help: What it does.
        changed: What is said where it changed something.
        unchanged: What is said where it did not.
    """

    run: Callable[..., bool]
    mode: Mode | None
    label: Any
    help: Any
    changed: Any
    unchanged: Any

    def perform(self, name: str, *, actor: str = "", words: str = "") -> Done:
        """Steer the circuit; ``actor`` and ``words`` go into its history."""
        handle = get(name)
        changed = self.run(handle, actor=actor, words=words)
        return Done(changed, str(self._said(handle, changed) % {"name": name}))

    def _said(self, handle: CircuitHandle, changed: bool) -> Any:
        if changed:
            return self.changed
        # The one operation that can be refused: a reset is not how a forced circuit is set free.
        stays_open = self.run is CircuitHandle.reset and handle.mode is Mode.FORCED_OPEN
        return _STAYS_OPEN if stays_open else self.unchanged


_STAYS_OPEN: Final = _("%(name)s stays forced open; put it back to automatic first.")

#: The operations by the name of the handle's method.
OPERATIONS: Final = {
    "reset": Operation(
        run=CircuitHandle.reset,
        mode=None,
        label=_("Reset"),
        help=_("Close it and forget its failures."),
        changed=_("%(name)s: reset."),
        unchanged=_("%(name)s: already closed, nothing to reset."),
    ),
    "force_open": Operation(
        run=CircuitHandle.force_open,
        mode=Mode.FORCED_OPEN,
        label=_("Force open"),
        help=_("Refuse all calls until somebody sets it back."),
        changed=_("%(name)s: forced open."),
        unchanged=_("%(name)s: already forced open."),
    ),
    "force_closed": Operation(
        run=CircuitHandle.force_closed,
        mode=Mode.FORCED_CLOSED,
        label=_("Force closed"),
        help=_("Let all calls pass until somebody sets it back."),
        changed=_("%(name)s: forced closed."),
        unchanged=_("%(name)s: already forced closed."),
    ),
    "observe": Operation(
        run=CircuitHandle.observe,
        mode=Mode.OBSERVE,
        label=_("Observe"),
        help=_("Work as usual but refuse nothing, to try a policy."),
        changed=_("%(name)s: observing, no call is refused."),
        unchanged=_("%(name)s: already observing."),
    ),
    "automatic": Operation(
        run=CircuitHandle.automatic,
        mode=Mode.AUTOMATIC,
        label=_("Back to automatic"),
        help=_("Let it open and close by itself again."),
        changed=_("%(name)s: automatic."),
        unchanged=_("%(name)s: already automatic."),
    ),
}
