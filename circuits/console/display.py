"""Shows circuits and their histories in words and HTML, for the admin."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import conditional_escape, escape, format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from ..core import machine
from ..core.status import Mode, Reason, State
from ..models import MODES, REASONS, STATES, Circuit, Transition
from ..moments import aware, to_datetime, to_seconds
from ..reports import quarantines
from ..reports.numbers import exact_time
from ..reports.readings import Reading
from ..reports.verdict import NO_EVIDENCE, Evidence, verdict
from ..reports.words import (
    DAY,
    HOUR,
    INJECTED,
    OBSERVED,
    SIGNS,
    UNSTEADY,
    clock,
    duration,
    grouped,
    local_time,
    moment_of_day,
    number_words,
)
from ..storage.rows import injection_of, policy_of, status_of

#: Shown where there is no value.
NOTHING: Final = "—"

#: The most characters of a text that a list shows.
SHORT: Final = 60


_STATES: Final[dict[str, Any]] = dict(STATES)
_MODES: Final[dict[str, Any]] = dict(MODES)


# State and mode ----------------------------------------------------------------------------------


def state_badge(state: str) -> SafeString:
    """Return a state with its sign, in its colour."""
    return _badge(state, _STATES[state])


def badge(reading: Reading, evidence: Evidence = NO_EVIDENCE) -> SafeString:
    """Return a circuit's state, with the sign and colour of the verdict on the circuit."""
    kind, state = verdict(reading, evidence).kind, reading.circuit.state
    if kind == OBSERVED and state != State.CLOSED:
        return _badge(OBSERVED, _("would be %(state)s") % {"state": _STATES[state]})
    return _badge(kind if kind in (INJECTED, UNSTEADY) else state, _STATES[state])


def observed_badge() -> SafeString:
    """Return the badge of the mode observe, in which nothing is really refused."""
    return _badge(OBSERVED, _MODES[Mode.OBSERVE])


def number_of(kind: str, number: int) -> SafeString:
    """Return a badge with the number of circuits of one kind."""
    # A count of zero is drawn like a closed circuit, which does not ask for attention.
    return _badge(kind, number_words(kind, number), kind if number else State.CLOSED)


def _badge(kind: str, words: str, colour: str | None = None) -> SafeString:
    return format_html(
        '<span class="circuits-badge circuits-{}"><span aria-hidden="true">{}</span> {}</span>',
        colour or kind,
        SIGNS[kind],
        words,
    )


def mode_words(mode: str) -> str:
    """Return a mode in words, emphasised unless it is automatic."""
    if mode == Mode.AUTOMATIC:
        return str(_MODES[mode])
    return format_html('<strong class="circuits-mode">{}</strong>', _MODES[mode])


def mode_and_end(reading: Reading) -> str:
    """Return a mode in words, followed by the time left if it ends by itself."""
    words = mode_words(reading.circuit.mode)
    seconds, until = reading.mode_ends_in, reading.circuit.mode_until
    if seconds is None or until is None:
        return words
    wait = Wait(_("for another %s"), _("time is up"))
    return format_html("{} {}", words, wait.until(until, seconds))


def announcement(circuit: Circuit) -> str:
    """Return the announcement of a change: ``payments is now open.``"""
    if injection_of(circuit) is not None and circuit.state == State.CLOSED:
        return _("Faults are injected into the calls of %(name)s.") % {"name": str(circuit)}
    text = {
        Mode.AUTOMATIC: _("%(name)s is now %(state)s."),
        Mode.OBSERVE: _("%(name)s is now %(state)s and refuses nothing."),
    }.get(Mode(circuit.mode), _("%(name)s is now %(mode)s."))
    return text % {
        "name": str(circuit),
        "state": _STATES[circuit.state],
        "mode": _MODES[circuit.mode],
    }


def change(transition: Transition) -> str:
    """Return what changed: ``closed → open``; if only the end of the mode changed, the mode."""
    if transition.reason == Reason.INJECTION:
        return _("faults injected") if transition.until else _("no more faults")
    sides = (
        (_STATES, transition.from_state, transition.to_state),
        (_MODES, transition.from_mode, transition.to_mode),
    )
    moved = [
        f"{names[before]} → {names[after]}" for names, before, after in sides if before != after
    ]
    return ", ".join(moved) or str(_MODES[transition.to_mode])


def outlook(reading: Reading) -> str:
    """Return one sentence on what happens to calls now, and what happens next."""
    circuit = reading.circuit
    if circuit.mode != Mode.AUTOMATIC:
        return _by_mode(reading)
    if circuit.state == State.CLOSED:
        return _passing(reading)
    return _trials(reading) if circuit.state == State.HALF_OPEN else _wait(reading)


def _passing(reading: Reading) -> str:
    status, policy = status_of(reading.circuit), policy_of(reading.circuit)
    if reading.injection is not None:
        return _("Calls pass, as far as the injected faults let them.")
    if machine.passing_share(status, policy, reading.now) == 1:
        return _("Calls pass.")
    if machine.ramp_remaining(status, policy, reading.now):
        return _("Some calls pass, and more and more of them until all do.")
    return _("Some calls pass; if fewer of them fail, more will.")


def _by_mode(reading: Reading) -> str:
    circuit, seconds = reading.circuit, reading.mode_ends_in
    for_good, for_a_while = {
        Mode.FORCED_OPEN: (
            _("All calls are refused until somebody puts it back to automatic."),
            _("All calls are refused until %(moment)s, for another %(time)s."),
        ),
        Mode.FORCED_CLOSED: (
            _("All calls pass, failing or not, until somebody puts it back to automatic."),
            _("All calls pass, failing or not, until %(moment)s, for another %(time)s."),
        ),
        Mode.OBSERVE: (
            _("No call is refused: it only shows what it would do."),
            _(
                "No call is refused, it only shows what it would do, until %(moment)s, for "
                "another %(time)s."
            ),
        ),
    }[Mode(circuit.mode)]
    if seconds is None or circuit.mode_until is None:
        return for_good
    moment = minute_of_day(circuit.mode_until, reading.now)
    return filled(for_a_while, moment=moment, time=duration(seconds))


def _trials(reading: Reading) -> str:
    circuit = reading.circuit
    return _(
        "Recovering: trial calls are let through, the others refused. "
        "Successes so far: %(successes)d of %(needed)d."
    ) % {"successes": circuit.trial_successes, "needed": circuit.success_threshold}


def _wait(reading: Reading) -> str:
    if reading.retry_in:
        text = _("Calls are refused. A trial call is let through %(when)s.")
        return filled(text, when=retry_in(reading))
    return _("The delay has passed: the next call is let through to try.")


def status(reading: Reading, evidence: Evidence = NO_EVIDENCE) -> dict[str, Any]:
    """Return the context of the top of a circuit's page."""
    circuit = reading.circuit
    return {
        "badge": badge(reading, evidence),
        "mode": "" if circuit.mode == Mode.AUTOMATIC else mode_words(circuit.mode),
        "verdict": sentence(reading, evidence),
        "outlook": outlook(reading),
        "alone": quarantines.sentences(reading),
        "retries": retries(reading),
        "error": circuit.last_error,
        "error_at": moment_and_age(circuit.last_failure_at, reading),
    }


def retries(reading: Reading) -> str:
    """Return how much of the budget of retries is used; empty if no process has lately retried."""
    spent = reading.retries
    if spent is None:
        return ""
    return _("Retries: %(number)s of the %(allowed)s allowed in the last %(time)s.") % {
        "number": grouped(spent.retries),
        "allowed": grouped(reading.retries_allowed),
        "time": exact_time(reading.circuit.window_seconds),
    }


def change_context(transition: Transition) -> dict[str, Any]:
    """Return the context of one change in the history on a page."""
    return {
        "at": at(transition.at),
        "change": change(transition),
        "reason": dict(REASONS)[transition.reason],
        "detail": transition.detail,
        "actor": transition.actor,
        "until": transition.until and at(transition.until),
        "refusals": transition.refusals,
        "generation": transition.generation,
        "is_opening": transition.is_opening,
    }


def cause(opening: Transition) -> str:
    """Return why a circuit opened: the reason and its detail, with a badge if it only observes."""
    reason = dict(REASONS)[opening.reason]
    words = f"{reason}: {opening.detail}" if opening.detail else str(reason)
    if opening.to_mode != Mode.OBSERVE:
        return words
    return format_html("{} {}", observed_badge(), words)


def lasted(time: str, *, is_over: bool) -> str:
    """Return how long an incident lasted, emphasised if it goes on."""
    if is_over:
        return time
    return format_html("<strong>{}</strong>", _("%(duration)s, and goes on") % {"duration": time})


def at_least(number: int, *, is_cut: bool) -> str:
    """Return a number, or ``more than 12`` if it leaves some out."""
    return _("more than %(number)s") % {"number": grouped(number)} if is_cut else grouped(number)


# Times -------------------------------------------------------------------------------------------


class Wait(NamedTuple):
    """A text with a time left, which a script counts down.

    Args:
        text: The text while the time lasts, with ``%s`` for the time left.
        over: The text afterwards.
    """

    text: str
    over: str

    def until(self, moment: datetime, seconds: float) -> str:
        """Return the text for a moment that is ``seconds`` away: ``in 7 s``."""
        if seconds <= 0:
            return self.over
        if seconds >= DAY:
            return _time(moment, self.text % duration(seconds))
        return format_html(
            '<time datetime="{}" title="{}"{} data-circuits-countdown="{}"'
            ' data-circuits-text="{}" data-circuits-over="{}">{}</time>',
            aware(moment).isoformat(),
            exact(moment),
            _rewritten("title"),
            round(seconds, 1),
            *self,
            self.text % clock(seconds),
        )


def exact(moment: datetime) -> str:
    """Return a moment to the second, in the current time zone."""
    return date_format(local_time(moment), "Y-m-d H:i:s T")


def zone(seconds: float) -> str:
    """Return the abbreviation of the current time zone at a moment, in seconds since 1970."""
    return date_format(local_time(to_datetime(seconds)), "T")


def at(moment: datetime) -> SafeString:
    """Return a moment to the second, which a script rewrites in the browser's time zone."""
    return format_html(
        '<time datetime="{}"{}>{}</time>',
        aware(moment).isoformat(),
        _rewritten("text"),
        exact(moment),
    )


def since(reading: Reading) -> SafeString:
    """Return when the circuit went down, or else last changed, and how long ago that was."""
    return filled(
        _("%(moment)s (%(time)s)"),
        moment=minute_of_day(reading.since, reading.now),
        time=duration(reading.down_for),
    )


def standing(reading: Reading, evidence: Evidence = NO_EVIDENCE) -> str:
    """Return the verdict on a circuit for a list, or since when it has been well if it is."""
    is_well = verdict(reading, evidence).kind == State.CLOSED
    return labelled(_("since"), since(reading)) if is_well else sentence(reading, evidence)


def sentence(reading: Reading, evidence: Evidence = NO_EVIDENCE) -> SafeString:
    """Return the verdict on a circuit as HTML, with its time as a time element."""
    found = verdict(reading, evidence)
    moment = "" if found.since is None else minute_of_day(found.since, reading.now)
    return SafeString(
        found._replace(lead=escape(found.lead), rest=tuple(map(escape, found.rest))).sentence(
            moment
        )
    )


def minute_of_day(moment: datetime, now: float) -> SafeString:
    """Return a time to the minute, which a script rewrites in the browser's time zone."""
    return format_html(
        '<time datetime="{}" title="{}"{}>{}</time>',
        aware(moment).isoformat(),
        exact(moment),
        _rewritten("day"),
        moment_of_day(moment, now),
    )


def retry_in(reading: Reading) -> str:
    """Return when an open circuit lets a trial call through."""
    seconds, moment = reading.retry_in, reading.circuit.retry_at
    if seconds is None or moment is None:
        return NOTHING
    return Wait(_("in %s"), _("now")).until(moment, seconds)


def moment_and_age(moment: datetime | None, reading: Reading) -> str:
    """Return a moment in the past to the second, and how long ago it was."""
    if moment is None:
        return NOTHING
    return filled(_("%(moment)s (%(age)s ago)"), moment=at(moment), age=_age(moment, reading))


def why(reading: Reading, by_hand: Transition | None = None) -> str:
    """Return why a circuit is as it is: its mode, who set it and why, and its last error.

    Args:
        by_hand: The change by which a person put the circuit into this state or mode, if any.
    """
    parts = [part for part in (_by_whom(reading, by_hand), _error_and_age(reading)) if part]
    return format_html_join(" · ", '<span class="circuits-why">{}</span>', zip(parts)) or NOTHING


def _by_whom(reading: Reading, change: Transition | None) -> str:
    """Return the mode and its end, or the operation, with the actor and their reason."""
    is_steered = reading.circuit.mode != Mode.AUTOMATIC
    if change is None:
        return mode_and_end(reading) if is_steered else ""
    what = mode_and_end(reading) if is_steered else str(dict(REASONS)[change.reason])
    sentence = {
        (True, True): _("%(what)s by %(actor)s: %(reason)s"),
        (True, False): _("%(what)s by %(actor)s"),
        (False, True): "%(what)s: %(reason)s",
        (False, False): "%(what)s",
    }[bool(change.actor), bool(change.detail)]
    return filled(sentence, what=what, actor=change.actor, reason=change.detail)


def _error_and_age(reading: Reading) -> str:
    """Return the last error and its age; nothing if it is old and the circuit is closed."""
    circuit, moment = reading.circuit, reading.circuit.last_failure_at
    if not circuit.last_error or moment is None:
        return circuit.last_error
    is_old = reading.now - to_seconds(moment, until=reading.now) >= HOUR
    if circuit.state == State.CLOSED and is_old:
        return ""
    ago = _time(moment, _("%(age)s ago") % {"age": _age(moment, reading)})
    return format_html('{} <span class="circuits-ago">{}</span>', circuit.last_error, ago)


def _age(moment: datetime, reading: Reading) -> str:
    return duration(max(0.0, reading.now - to_seconds(moment, until=reading.now)))


def _time(moment: datetime, words: str) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{}"{}>{}</time>',
        aware(moment).isoformat(),
        exact(moment),
        _rewritten("title"),
        words,
    )


def _rewritten(place: str) -> SafeString:
    """Return the attribute that lets a script rewrite a time in the browser's time zone.

    If the site has activated another zone than its default, it knows the user's zone, and the
    attribute is left out.
    """
    if timezone.get_current_timezone_name() != timezone.get_default_timezone_name():
        return SafeString()
    return format_html(' data-circuits-time="{}"', place)


# Texts -------------------------------------------------------------------------------------------


def shown_by_name(circuit: Circuit) -> Circuit:
    """Give a circuit that is only shown a name that cannot be mistaken for another one's."""
    circuit.name = str(circuit)
    return circuit


def shortened(text: str) -> str:
    """Return the beginning of a text; if it is cut, with the whole text as a tooltip."""
    short = Truncator(text).chars(SHORT)
    if short == text:
        return text or NOTHING
    return format_html('<span title="{}">{}</span>', text, short)


def labelled(label: Any, words: str) -> str:
    """Return the text of a list's cell, with the heading that narrow screens show before it."""
    if words == NOTHING:
        return words
    return format_html('<span data-circuits-label="{}">{}</span>', label, words)


def filled(text: str, **parts: str) -> SafeString:
    """Fill the placeholders of a translated text, escaping everything that is not HTML already."""
    return SafeString(
        escape(text) % {name: conditional_escape(part) for name, part in parts.items()}
    )
