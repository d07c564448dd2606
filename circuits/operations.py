"""The ways to steer a circuit by hand, what each will do, and what is said when it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from .handle import CircuitHandle, get
from .machine import Mode


class Done(NamedTuple):
    """What came of an operation: whether anything is different, and a sentence about it.

    ``refusal`` says why the operation cannot be done as the circuit stands.
    """

    changed: bool
    message: str
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One way to steer a circuit.

    Args:
        run: The handle's method, which returns whether anything changed.
        mode: The mode it puts the circuit in, if it does.
        label: What its button says.
        help: What it does.
        consequence: What becomes of calls, before somebody confirms it.
        changed: What is said where it changed something.
        unchanged: What is said where it did not.
    """

    run: Callable[..., bool]
    mode: Mode | None
    label: Any
    help: Any
    consequence: Any
    changed: Any
    unchanged: Any

    @property
    def may_end(self) -> bool:
        """Whether what it does can be for a while only."""
        return self.mode not in (None, Mode.AUTOMATIC)

    def perform(
        self, name: str, *, actor: str = "", words: str = "", seconds: int | None = None
    ) -> Done:
        """Steer the circuit; ``actor`` and ``words`` go into its history.

        Args:
            seconds: After which it goes back to automatic by itself, where it may end.
        """
        handle = get(name)
        span = {"seconds": seconds} if self.may_end else {}
        changed = self.run(handle, actor=actor, words=words, **span)
        if not changed and self._is_refused(handle):
            return Done(changed, str(_STAYS_OPEN % {"name": name}), str(_FORCED_OPEN))
        said = str((self.changed if changed else self.unchanged) % {"name": name})
        end = "" if seconds is None else f" {_ENDS % {'time': spoken(seconds)}}"
        return Done(changed, f"{said}{end}")

    def _is_refused(self, handle: CircuitHandle) -> bool:
        # The one operation that can be: a reset is not how a forced circuit is set free.
        return self.run is CircuitHandle.reset and handle.mode is Mode.FORCED_OPEN


def spoken(seconds: int) -> str:
    """Return a length of time in the largest unit that it has a whole number of."""
    unit = next(unit for unit in _UNITS if seconds % unit == 0)
    return _UNITS[unit](seconds // unit)


# Each with a text of its own, which is how translators get to see it.
_UNITS: Final[dict[int, Callable[[int], str]]] = {
    86_400: lambda number: ngettext("%d day", "%d days", number) % number,
    3_600: lambda number: ngettext("%d hour", "%d hours", number) % number,
    60: lambda number: ngettext("%d minute", "%d minutes", number) % number,
    1: lambda number: ngettext("%d second", "%d seconds", number) % number,
}

_STAYS_OPEN: Final = _("%(name)s stays forced open; put it back to automatic first.")
_ENDS: Final = _("It goes back to automatic in %(time)s.")
_FORCED_OPEN: Final = _("forced open; put it back to automatic first")

#: The operations by the name of the handle's method.
OPERATIONS: Final = {
    "reset": Operation(
        run=CircuitHandle.reset,
        mode=None,
        label=_("Reset"),
        help=_("Close it and forget its failures."),
        consequence=_(
            "Calls to %(name)s will pass again at once: the state becomes closed, and the "
            "failures counted so far are forgotten."
        ),
        changed=_("%(name)s: reset."),
        unchanged=_("%(name)s: already closed, nothing to reset."),
    ),
    "force_open": Operation(
        run=CircuitHandle.force_open,
        mode=Mode.FORCED_OPEN,
        label=_("Force open"),
        help=_("Refuse all calls until somebody sets it back, or for a while."),
        consequence=_("All calls to %(name)s will be refused, whatever the remote does."),
        changed=_("%(name)s: forced open."),
        unchanged=_("%(name)s: already forced open."),
    ),
    "force_closed": Operation(
        run=CircuitHandle.force_closed,
        mode=Mode.FORCED_CLOSED,
        label=_("Force closed"),
        help=_("Let all calls pass until somebody sets it back, or for a while."),
        consequence=_(
            "All calls to %(name)s will pass, however many fail: nothing protects the callers."
        ),
        changed=_("%(name)s: forced closed."),
        unchanged=_("%(name)s: already forced closed."),
    ),
    "observe": Operation(
        run=CircuitHandle.observe,
        mode=Mode.OBSERVE,
        label=_("Observe"),
        help=_("Work as usual but refuse nothing, to try a policy."),
        consequence=_(
            "No call to %(name)s will be refused. Failures are counted and the state changes as "
            "usual, to show what the policy would do."
        ),
        changed=_("%(name)s: observing, no call is refused."),
        unchanged=_("%(name)s: already observing."),
    ),
    "automatic": Operation(
        run=CircuitHandle.automatic,
        mode=Mode.AUTOMATIC,
        label=_("Back to automatic"),
        help=_("Let it open and close by itself again."),
        consequence=_(
            "The policy alone will decide again which calls to %(name)s pass. What was forced "
            "open lets the next call through to try."
        ),
        changed=_("%(name)s: automatic."),
        unchanged=_("%(name)s: already automatic."),
    ),
}
