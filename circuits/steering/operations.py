"""The operations by which staff steer a circuit, listed once for the admin and the commands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from .. import conf
from ..core.status import Mode, State
from ..exceptions import InvalidInputError
from ..models import Circuit
from ..storage.rows import injection_of
from .handle import CircuitHandle
from .probe import ProbeResult

Result = Literal["changed", "unchanged", "refused", "failed"]


class Done(NamedTuple):
    """The result of an operation on one circuit.

    Args:
        result: ``unchanged`` means that the circuit already was as asked, ``refused`` that its
            present state does not permit the operation, ``failed`` that a call failed.
        message: One sentence about the result.
        reason: Why it was refused or failed, in words that do not name this circuit.
    """

    result: Result
    message: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(ABC):
    """One way to steer a circuit, named after the method of the handle that does it.

    Args:
        label: The label of its button.
        help: A sentence on what it does.
        takes_reason: Whether the actor may give a reason for the history.
        takes_faults: Whether the actor says which faults to inject, and for how long.
        mode: The mode that it sets, if it sets one.
        is_of_injection: Whether it is only there if the settings allow faults to be injected.
    """

    label: Any
    help: Any
    takes_reason: bool = True
    takes_faults: bool = False
    mode: Mode | None = None
    is_of_injection: bool = False

    @property
    def may_end(self) -> bool:
        """Whether it can be limited to a number of seconds."""
        return self.mode not in (None, Mode.AUTOMATIC)

    def has_effect(self, circuit: Circuit) -> bool:
        """Return whether it would change anything about the circuit at present."""
        return self.may_end or self.mode is None or self.mode != circuit.mode

    def help_for(self, circuit: Circuit) -> str:
        """Return a sentence on what it would do to the circuit at present."""
        if self.may_end and self.mode == circuit.mode:
            return str(_("It is so already: change how long it lasts."))
        return str(self.help)

    @abstractmethod
    def consequences(self, name: str, circuit: Circuit | None = None) -> list[str]:
        """Return sentences on what will happen to calls, for the confirmation page.

        Args:
            name: The circuit's name, or a phrase such as "3 circuits" for several.
            circuit: The circuit as it is now; None for several.
        """

    @abstractmethod
    def perform(
        self,
        name: str,
        *,
        actor: str = "",
        reason: str = "",
        seconds: int | None = None,
        seen: Mode | None = None,
    ) -> Done:
        """Perform the operation; ``actor`` and ``reason`` go into the circuit's history.

        Args:
            seconds: Seconds after which the circuit goes back to automatic by itself, if the
                operation :attr:`may_end`.
            seen: The mode in which the actor saw the circuit; None does not check.

        Raises:
            ModeChangedError: The circuit is in another mode by now; nothing was done.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering(Operation):
    """An operation that changes the state or the mode.

    Args:
        run: The handle's method, which returns whether anything changed.
        consequence: What will happen to calls.
        changed: The message if it changed something.
        unchanged: The message if it did not.
    """

    run: Callable[..., bool]
    consequence: Any
    changed: Any
    unchanged: Any

    def consequences(self, name: str, circuit: Circuit | None = None) -> list[str]:
        """Return what will happen to calls, and for how long."""
        sentences = [str(self.consequence % {"name": name})]
        if self.may_end:
            sentences.append(str(_LASTS))
        return sentences

    def perform(
        self,
        name: str,
        *,
        actor: str = "",
        reason: str = "",
        seconds: int | None = None,
        seen: Mode | None = None,
    ) -> Done:
        """Change the circuit, unless it already is as asked."""
        span = {"seconds": seconds} if self.may_end else {}
        handle = CircuitHandle(name, seen=seen)
        changed = self.run(handle, actor=actor, reason=reason, **span)
        sentence = str((self.changed if changed else self.unchanged) % {"name": name})
        end = "" if seconds is None else f" {_ENDS % {'time': spoken(seconds)}}"
        return Done("changed" if changed else "unchanged", f"{sentence}{end}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(Steering):
    """Closes the circuit. The only change that may be refused: a forced circuit stays forced."""

    run: Callable[..., bool] = field(default=CircuitHandle.reset)

    def has_effect(self, circuit: Circuit) -> bool:
        """Return whether there is something to close or failures to forget."""
        counted = (circuit.failure_count, circuit.window, circuit.accuser, circuit.quarantines)
        is_closed = circuit.state == State.CLOSED
        return circuit.mode != Mode.FORCED_OPEN and (not is_closed or any(counted))

    def consequences(self, name: str, circuit: Circuit | None = None) -> list[str]:
        """Return what will happen to calls, or that nothing will."""
        if circuit is not None and circuit.mode == Mode.FORCED_OPEN:
            return [str(_STAYS_OPEN % {"name": name})]
        return Steering.consequences(self, name, circuit)

    def perform(self, name: str, **asked: Any) -> Done:
        """Close the circuit, unless it is forced open."""
        done = Steering.perform(self, name, **asked)
        if done.result == "unchanged" and CircuitHandle(name).mode is Mode.FORCED_OPEN:
            return Done("refused", str(_STAYS_OPEN % {"name": name}), str(_FORCED_OPEN))
        return done


@dataclass(frozen=True, slots=True, kw_only=True)
class Trying(Steering):
    """Tries an open circuit at once: by a probe if it has a probe URL, else by the next call."""

    run: Callable[..., bool] = field(default=CircuitHandle.try_now)

    def has_effect(self, circuit: Circuit) -> bool:
        """Return whether the circuit is open and only its delay keeps calls from trying."""
        return circuit.state == State.OPEN and circuit.mode != Mode.FORCED_OPEN

    def consequences(self, name: str, circuit: Circuit | None = None) -> list[str]:
        """Return which call will be the trial, or that there will be none."""
        if circuit is None:
            return [*Steering.consequences(self, name), str(_PROBES_IF_IT_CAN), str(_TRIAL_DECIDES)]
        if circuit.mode == Mode.FORCED_OPEN:
            return [str(_STAYS_OPEN % {"name": name})]
        if not self.has_effect(circuit):
            return [str(self.unchanged % {"name": name})]
        if not circuit.probe_url:
            return [*Steering.consequences(self, name), str(_TRIAL_DECIDES)]
        call = _("One call will be made through %(name)s at once, to %(url)s.")
        return [str(call % {"name": name, "url": circuit.probe_url}), str(_TRIAL_DECIDES)]

    def perform(self, name: str, **asked: Any) -> Done:
        """Permit a trial, and probe the circuit if it has a probe URL."""
        done = Steering.perform(self, name, **asked)
        if done.result == "unchanged":
            is_forced = CircuitHandle(name).mode is Mode.FORCED_OPEN
            stays = Done("refused", str(_STAYS_OPEN % {"name": name}), str(_FORCED_OPEN))
            return stays if is_forced else done
        with suppress(InvalidInputError):  # it has no URL, or one that may not be called
            probed = CircuitHandle(name).probe()
            if probed.outcome != "refused":  # if it was refused, another call was the trial
                return _probed(probed)
        return done


@dataclass(frozen=True, slots=True, kw_only=True)
class Injecting(Operation):
    """Injects faults into the calls of a circuit for a while."""

    takes_faults: bool = True
    is_of_injection: bool = True

    def help_for(self, circuit: Circuit) -> str:
        """Return what it does, or that other faults are injected already."""
        is_under_way = injection_of(circuit) is not None
        return str(_INJECTED_ALREADY if is_under_way else self.help)

    def consequences(self, name: str, circuit: Circuit | None = None) -> list[str]:
        """Return what will happen to calls, and that it ends by itself."""
        return [str(sentence % {"name": name}) for sentence in _INJECTING]

    def perform(
        self,
        name: str,
        *,
        actor: str = "",
        reason: str = "",
        seconds: int | None = None,
        seen: Mode | None = None,
        failures: float = 0.0,
        delay: float = 0.0,
    ) -> Done:
        """Inject the faults.

        Args:
            seconds: For how long; :data:`INJECTED_SECONDS` if it is None.
            failures: The share of calls that fails, from 0 to 1.
            delay: Seconds by which the other calls are late.

        Raises:
            InvalidInputError: The settings do not allow it, or a value cannot be used.
        """
        lasts = INJECTED_SECONDS if seconds is None else seconds
        CircuitHandle(name, seen=seen).inject(
            failures=failures, delay=delay, seconds=lasts, actor=actor, reason=reason
        )
        text = _("%(name)s: faults are injected for %(time)s.")
        return Done("changed", str(text % {"name": name, "time": spoken(lasts)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending(Steering):
    """Ends the injected faults before they end by themselves."""

    run: Callable[..., bool] = field(default=CircuitHandle.stop_injection)
    is_of_injection: bool = True

    def has_effect(self, circuit: Circuit) -> bool:
        """Return whether faults are injected at present."""
        return injection_of(circuit) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing(Operation):
    """Calls the probe URL at once."""

    takes_reason: bool = False

    def has_effect(self, circuit: Circuit) -> bool:
        """Return whether there is a URL to call."""
        return bool(circuit.probe_url)

    def help_for(self, circuit: Circuit) -> str:
        """Return where the call will go."""
        url = circuit.probe_url
        return str(_("Make one call to %(url)s.") % {"url": url} if url else _NO_URL_YET)

    def consequences(self, name: str, circuit: Circuit | None = None) -> list[str]:
        """Return where a call will go, and that it counts."""
        if circuit is None:
            sentence = _("One call will be made to the probe URL of each of %(name)s.")
            return [str(sentence % {"name": name}), str(_COUNTS)]
        if not circuit.probe_url:
            sentence = _("%(name)s has no probe URL, so there is nothing to call.")
            return [str(sentence % {"name": name})]
        sentence = _("One call will be made through %(name)s, to %(url)s.")
        return [str(sentence % {"name": name, "url": circuit.probe_url}), str(_COUNTS)]

    def perform(self, name: str, **asked: Any) -> Done:
        """Make the call.

        Raises:
            InvalidInputError: The circuit is unknown, or has no URL that may be called.
        """
        return _probed(CircuitHandle(name).probe())


def _probed(probed: ProbeResult) -> Done:
    result, text = _PROBED[probed.outcome]
    values = {
        "name": probed.name,
        "status": probed.status,
        "milliseconds": round(probed.seconds * 1000),
        "detail": probed.detail,
    }
    # The wait differs from circuit to circuit, so it is not part of the reason.
    reason = str(_("refused, its circuit is open")) if result == "refused" else probed.detail
    return Done(result, str(text % values), reason)


def spoken(seconds: int) -> str:
    """Return a duration in words, in the largest unit of which it is a whole multiple."""
    unit = next(unit for unit in _UNITS if seconds % unit == 0)
    return _UNITS[unit](seconds // unit)


# Each unit has a text of its own, so that translators get to see it.
_UNITS: Final[dict[int, Callable[[int], str]]] = {
    86_400: lambda number: ngettext("%d day", "%d days", number) % number,
    3_600: lambda number: ngettext("%d hour", "%d hours", number) % number,
    60: lambda number: ngettext("%d minute", "%d minutes", number) % number,
    1: lambda number: ngettext("%d second", "%d seconds", number) % number,
}

_LASTS: Final = _("This lasts until somebody sets it back, or for the time chosen below.")
_STAYS_OPEN: Final = _("%(name)s stays forced open; put it back to automatic first.")
_ENDS: Final = _("It goes back to automatic in %(time)s.")
_TRIAL_DECIDES: Final = _(
    "If it succeeds, it closes the circuit, or is the first of the successes that the policy asks "
    "for; if it fails, the delay begins anew."
)
_PROBES_IF_IT_CAN: Final = _("Where there is a probe URL, a probe is that call.")
_FORCED_OPEN: Final = _("forced open; put it back to automatic first")
_NO_URL_YET: Final = _("It has no probe URL yet.")
_COUNTS: Final = _("Its outcome counts like that of any other call; an open circuit refuses it.")
_PROBED: Final[dict[str, tuple[Result, Any]]] = {
    "passed": ("changed", _("Probe of %(name)s passed: HTTP %(status)s in %(milliseconds)d ms.")),
    "failed": ("failed", _("Probe of %(name)s failed: %(detail)s")),
    "refused": ("refused", _("Probe of %(name)s refused: %(detail)s")),
}

_INJECTED_ALREADY: Final = _("Faults are injected already: change which, or for how long.")
_INJECTING: Final = (
    _(
        "Calls to %(name)s will fail without reaching the remote, or will be late, as chosen "
        "below. They count like any others, so it may open."
    ),
    _("This ends by itself, after an hour at the latest."),
)

#: For how many seconds faults are injected, unless the actor says otherwise.
INJECTED_SECONDS: Final = 600

#: The operations by the name of the handle's method, in the order in which they are offered.
OPERATIONS: Final[dict[str, Operation]] = {
    "try_now": Trying(
        label=_("Try now"),
        help=_("Let one call try it at once; if that succeeds, it closes."),
        consequence=_("The next call to %(name)s will be let through to try, without waiting."),
        changed=_("%(name)s: the next call will try."),
        unchanged=_("%(name)s: not open, nothing to wait for."),
    ),
    "probe": Probing(
        label=_("Probe now"),
        help=_("Make one call to its probe URL."),
    ),
    "reset": Reset(
        label=_("Reset"),
        help=_("Close it and forget its failures."),
        consequence=_(
            "Calls to %(name)s will pass again at once: the state becomes closed, and the "
            "failures counted so far are forgotten."
        ),
        changed=_("%(name)s: reset."),
        unchanged=_("%(name)s: already closed, nothing to reset."),
    ),
    "force_open": Steering(
        run=CircuitHandle.force_open,
        mode=Mode.FORCED_OPEN,
        label=_("Force open"),
        help=_("Refuse all calls until somebody sets it back, or for a while."),
        consequence=_("All calls to %(name)s will be refused, whatever the remote does."),
        changed=_("%(name)s: forced open."),
        unchanged=_("%(name)s: already forced open."),
    ),
    "force_closed": Steering(
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
    "observe": Steering(
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
    "automatic": Steering(
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
    "inject": Injecting(
        label=_("Inject faults"),
        help=_("Let calls fail or be late for a while, to try out what the site then does."),
    ),
    "stop_injection": Ending(
        label=_("Stop injecting faults"),
        help=_("Let its calls go to the remote as they are, at once."),
        consequence=_("Calls to %(name)s will go to the remote again, and on time."),
        changed=_("%(name)s: no more faults are injected."),
        unchanged=_("%(name)s: no faults were injected."),
    ),
}


def offered() -> dict[str, Operation]:
    """Return the operations that the settings allow, in the same order."""
    may_inject = conf.get().allow_injection
    return {key: each for key, each in OPERATIONS.items() if may_inject or not each.is_of_injection}
