"""Gives the verdict on a circuit: one sentence on how it stands, used wherever it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db.models import Count
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..core import machine, throttle, windows
from ..core.policy import Policy
from ..core.status import Mode, State, Status
from ..models import Circuit, Transition
from ..moments import to_datetime, to_seconds
from ..storage.rows import policy_of, status_of
from . import injections
from .readings import Reading
from .statistics import Calls, last_hour, last_hour_slots
from .words import FORCED, INJECTED, OBSERVED, UNSTEADY, duration, grouped, moment_of_day, percent

#: A circuit that opens this many times in an hour is said to flap.
FLAPPING: Final = 3

HOUR: Final = timedelta(hours=1)


class Evidence(NamedTuple):
    """The evidence of the last hour on a circuit.

    Args:
        calls: The calls in slots of two minutes, the oldest first; empty if there were none.
        openings: How often the circuit opened.
    """

    calls: Sequence[Calls] = ()
    openings: int = 0

    @property
    def refusals(self) -> int:
        """How many calls were refused, or would have been."""
        return sum(slot.refusals for slot in self.calls)


class Verdict(NamedTuple):
    """One sentence on how a circuit stands.

    Args:
        kind: The key of :data:`circuits.reports.words.SIGNS` that chooses sign and colour.
        lead: The first part of the sentence, with ``%(since)s`` for a time; may be empty.
        rest: The other parts of the sentence.
        since: The time that the sentence names, if any.
    """

    kind: str
    lead: str = ""
    rest: tuple[str, ...] = ()
    since: datetime | None = None

    def sentence(self, since: str) -> str:
        """Return the sentence, with its time written as ``since``."""
        lead = [self.lead % {"since": since}] if self.lead else []
        return ", ".join([*lead, *self.rest])

    def text(self, now: float) -> str:
        """Return the sentence in plain text; ``now`` is in seconds since 1970."""
        return self.sentence("" if self.since is None else moment_of_day(self.since, now))


def gather(readings: Sequence[Reading]) -> dict[int, Evidence]:
    """Return the evidence on each circuit by its primary key, in two queries at most.

    Raises:
        django.db.Error: The circuits' database cannot be read.
    """
    if not readings:
        return {}
    now = readings[0].now
    calls = last_hour([each.circuit.pk for each in readings], now)
    openings = _openings([each.circuit for each in readings], now)
    return {
        pk: Evidence(calls.get(pk, ()), openings.get(pk, 0))
        for pk in (each.circuit.pk for each in readings)
    }


def _openings(circuits: Sequence[Circuit], now: float) -> dict[int, int]:
    """Return how often circuits opened in the last hour, by their primary keys."""
    since = to_datetime(now) - HOUR
    # A circuit that has not changed for an hour has not opened either.
    moved = [c.pk for c in circuits if c.state_changed_at and c.state_changed_at >= since]
    if not moved:
        return {}
    found = Transition.objects.filter(
        circuit__in=moved, from_state=State.CLOSED, to_state=State.OPEN, at__gte=since
    )
    return dict(found.order_by().values_list("circuit_id").annotate(Count("pk")))


NO_EVIDENCE: Final = Evidence()


def verdict(reading: Reading, evidence: Evidence = NO_EVIDENCE) -> Verdict:
    """Return the verdict on a circuit."""
    injected = injections.of(reading)
    if injected is None:
        return _of_itself(reading, evidence)
    return _injected(reading, evidence, injected)


def _injected(reading: Reading, evidence: Evidence, injected: injections.Injected) -> Verdict:
    """Return the verdict on a circuit whose calls fail or are late on purpose."""
    found = _of_itself(reading, evidence)
    if found.kind not in (State.CLOSED, UNSTEADY):
        text = _("injected faults: %s") % injected.words
        return found._replace(rest=(*found.rest, text))
    rest = (injected.words, *(found.rest if found.kind == UNSTEADY else ()))
    return Verdict(INJECTED, _("Injected faults until %(since)s"), rest, injected.until)


def _of_itself(reading: Reading, evidence: Evidence) -> Verdict:
    circuit = reading.circuit
    if circuit.mode == Mode.FORCED_CLOSED:
        return Verdict(FORCED, _("Forced closed since %(since)s"), since=reading.since)
    if circuit.state != State.CLOSED:
        return _down(reading, evidence)
    if not enforced(circuit):
        return _observed(evidence)
    return _closed(reading, evidence)


def _down(reading: Reading, evidence: Evidence) -> Verdict:
    circuit = reading.circuit
    share = enforced(circuit)
    is_observed = not share
    lead = _("Would be down since %(since)s") if is_observed else _("Down since %(since)s")
    long = duration(reading.down_for)
    parts = [_("forced open")] if circuit.mode == Mode.FORCED_OPEN else []
    if circuit.reopen_count:
        parts.append(failed_trials_words(circuit.reopen_count))
    parts.append(refused_words(reading.refused, share))
    if evidence.openings >= FLAPPING:
        parts.append(_openings_words(evidence.openings))
    kind = OBSERVED if is_observed else circuit.state
    return Verdict(kind, f"{lead} ({long})", tuple(parts), reading.since)


def failed_trials_words(number: int) -> str:
    """Return words for the number of failed trials; an empty text for 0."""
    return (
        ngettext("%s failed trial", "%s failed trials", number) % grouped(number) if number else ""
    )


def enforced(circuit: Circuit) -> float:
    """Return the share of refusals, from 0 to 1, that a circuit enforces at present."""
    return machine.enforced_share(Mode(circuit.mode), policy_of(circuit))


def refused_words(number: int, share: float) -> str:
    """Return words for the number of calls that were refused, or would have been.

    Args:
        share: The share of refusals that is enforced, from 0 to 1.
    """
    values = {"number": grouped(number), "share": percent(share)}
    if share == 1:
        text = ngettext("%(number)s refused", "%(number)s refused", number)
    elif share:
        text = ngettext(
            "%(number)s refused (%(share)s of them really)",
            "%(number)s refused (%(share)s of them really)",
            number,
        )
    else:
        text = ngettext(
            "%(number)s would have been refused", "%(number)s would have been refused", number
        )
    return text % values


def _observed(evidence: Evidence) -> Verdict:
    number = evidence.refusals
    if not number:
        return Verdict(OBSERVED, rest=(_("Observed: nothing would have been refused"),))
    text = _("Observed: %s in the last hour") % refused_words(number, 0)
    return Verdict(OBSERVED, rest=(text,))


def _closed(reading: Reading, evidence: Evidence) -> Verdict:
    status, policy = status_of(reading.circuit), policy_of(reading.circuit)
    ramp = machine.ramp_share(status, policy, reading.now)
    if ramp < 1:
        text = _("Ramping up: %s of the calls pass") % percent(ramp)
        return Verdict(UNSTEADY, rest=(text,))
    throttled = throttle.share_of(status.window, policy, reading.now)
    if throttled:
        return Verdict(UNSTEADY, rest=tuple(_throttled(status, policy, throttled, reading.now)))
    if evidence.openings >= FLAPPING:
        text = _("Flapping: %s") % _openings_words(evidence.openings)
        return Verdict(UNSTEADY, rest=(text,))
    share = _share_refused(reading, evidence)
    if share and policy.max_concurrent:
        text = _("At its limit: %s refused in the last hour") % percent(share)
        return Verdict(UNSTEADY, rest=(text,))
    if evidence.refusals:
        words = refused_words(evidence.refusals, enforced(reading.circuit))
        return Verdict(UNSTEADY, rest=(_("Calls pass: %s in the last hour") % words,))
    return Verdict(State.CLOSED, rest=(_("Calls pass"),))


def _throttled(status: Status, policy: Policy, share: float, now: float) -> Iterator[str]:
    refused = percent(share * policy.enforce_share)
    yield _("Throttled: about %s of the calls are refused") % refused
    counts = windows.totals(windows.current(status.window, policy, now))
    failing = counts.failures / counts.calls
    if failing > policy.failure_rate:
        text = ngettext(
            "%(share)s of %(number)s call failed, limit %(limit)s",
            "%(share)s of %(number)s calls failed, limit %(limit)s",
            counts.calls,
        )
        limit = policy.failure_rate
    else:
        failing, limit = counts.slow / counts.calls, policy.slow_call_rate
        text = ngettext(
            "%(share)s of %(number)s call was slow, limit %(limit)s",
            "%(share)s of %(number)s calls were slow, limit %(limit)s",
            counts.calls,
        )
    number = grouped(counts.calls)
    yield text % {"share": percent(failing), "number": number, "limit": percent(limit)}


def _openings_words(number: int) -> str:
    text = ngettext("opened %d time in an hour", "opened %d times in an hour", number)
    return text % number


def _share_refused(reading: Reading, evidence: Evidence) -> float:
    """Return the share of calls refused since the circuit closed, within the last hour."""
    slots = last_hour_slots(reading.now)
    closed_at = reading.circuit.state_changed_at
    since = 0.0 if closed_at is None else to_seconds(closed_at, until=reading.now)
    if reading.circuit.recovered_at is not None:
        since += reading.circuit.ramp_up_seconds
    later = [
        calls
        for number, calls in enumerate(evidence.calls)
        if slots.start + number * slots.seconds >= since
    ]
    total = sum(map(sum, later))
    return sum(calls.refusals for calls in later) / total if total else 0.0
