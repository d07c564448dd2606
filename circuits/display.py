"""Circuits and their histories in words and HTML, for the admin."""

from __future__ import annotations

from datetime import datetime
from math import ceil
from typing import Any, Final

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .machine import Mode, State
from .models import MODES, REASONS, STATES, Transition
from .readings import Reading
from .rows import to_datetime, to_seconds

#: What stands where there is nothing to say.
NOTHING: Final = "—"

#: How many characters of a text a list has room for.
SHORT: Final = 60

# Signs of different shapes: the colour is never the only one.
_SIGNS: Final = {State.CLOSED: "✓", State.OPEN: "✕", State.HALF_OPEN: "◐"}

_STATES: Final[dict[str, Any]] = dict(STATES)
_MODES: Final[dict[str, Any]] = dict(MODES)


# State and mode ----------------------------------------------------------------------------------


def state_badge(state: str) -> SafeString:
    """Return a state as a sign, a word and a colour."""
    return format_html(
        '<span class="circuits-badge circuits-{}"><span aria-hidden="true">{}</span> {}</span>',
        state,
        _SIGNS[State(state)],
        _STATES[state],
    )


def mode_words(mode: str) -> str:
    """Return a mode in words, emphasised where somebody has a hand in it."""
    if mode == Mode.AUTOMATIC:
        return str(_MODES[mode])
    return format_html('<strong class="circuits-mode">{}</strong>', _MODES[mode])


def change(transition: Transition) -> str:
    """Return what changed: the state, the mode or both."""
    sides = (
        (_STATES, transition.from_state, transition.to_state),
        (_MODES, transition.from_mode, transition.to_mode),
    )
    return ", ".join(
        f"{names[before]} → {names[after]}" for names, before, after in sides if before != after
    )


def outlook(reading: Reading) -> str:
    """Return one sentence: what becomes of calls now, and what happens next."""
    circuit = reading.circuit
    if circuit.mode != Mode.AUTOMATIC:
        return _by_mode(reading)
    if circuit.state == State.CLOSED:
        return _("Calls pass.")
    return _trials(reading) if circuit.state == State.HALF_OPEN else _wait(reading)


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
    moment = _moment_of_day(circuit.mode_until, reading.now)
    return for_a_while % {"moment": moment, "time": duration(seconds)}


def _trials(reading: Reading) -> str:
    circuit = reading.circuit
    return _(
        "Recovering: trial calls are let through, the others refused. "
        "Successes so far: %(successes)d of %(needed)d."
    ) % {"successes": circuit.trial_successes, "needed": circuit.success_threshold}


def _wait(reading: Reading) -> str:
    if reading.retry_in:
        return _("Calls are refused. A trial call is let through %(when)s.") % {
            "when": retry_in(reading)
        }
    return _("The delay has passed: the next call is let through to try.")


def status(reading: Reading) -> dict[str, Any]:
    """Return what a circuit's page says at its top."""
    circuit = reading.circuit
    return {
        "badge": state_badge(circuit.state),
        "mode": "" if circuit.mode == Mode.AUTOMATIC else mode_words(circuit.mode),
        "time": time_in_state(reading),
        "outlook": outlook(reading),
        "error": circuit.last_error,
        "error_at": moment_and_age(circuit.last_failure_at, reading),
    }


def past(transition: Transition) -> dict[str, Any]:
    """Return what a circuit's page says of a change."""
    return {
        "at": exact(transition.at),
        "change": change(transition),
        "reason": dict(REASONS)[transition.reason],
        "detail": transition.detail,
        "actor": transition.actor,
        "until": transition.until and exact(transition.until),
        "refusals": transition.refusals,
        "generation": transition.generation,
        "is_opening": transition.is_opening,
    }


# Times -------------------------------------------------------------------------------------------


def exact(moment: datetime) -> str:
    """Return a moment to the second, in the time zone of whoever looks."""
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return date_format(local, "Y-m-d H:i:s T")


def _moment_of_day(moment: datetime, now: float) -> str:
    """Return a moment to the minute, with its day where that is another one."""
    local, today = (
        timezone.localtime(each) if timezone.is_aware(each) else each
        for each in (moment, to_datetime(now))
    )
    return date_format(local, "H:i T" if local.date() == today.date() else "j M H:i T")


def duration(seconds: float) -> str:
    """Return a length of time as people say it: ``12 seconds``, ``1 hour, 5 minutes``."""
    if seconds < 60:
        return ngettext("%d second", "%d seconds", int(seconds)) % int(seconds)
    return timesince(to_datetime(0), to_datetime(seconds))


def time_in_state(reading: Reading) -> SafeString:
    """Return how long the state and mode have been what they are."""
    moment = reading.circuit.state_changed_at or reading.circuit.created_at
    return _time(moment, duration(reading.time_in_state))


def retry_in(reading: Reading) -> str:
    """Return when an open circuit lets a call through to try."""
    seconds = reading.retry_in
    if seconds is None:
        return NOTHING
    if seconds <= 0:
        return _("now")
    if seconds < 60:
        return _("in %d s") % ceil(seconds)
    return _("in %s") % duration(seconds)


def moment_and_age(moment: datetime | None, reading: Reading) -> str:
    """Return a moment in the past to the second, and how long ago it was."""
    if moment is None:
        return NOTHING
    age = duration(max(0.0, reading.now - to_seconds(moment, until=reading.now)))
    return _("%(moment)s (%(age)s ago)") % {"moment": exact(moment), "age": age}


def _time(moment: datetime, words: str) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact(moment), words
    )


# Texts -------------------------------------------------------------------------------------------


def shortened(text: str) -> str:
    """Return the beginning of a text, with all of it as title where that is more."""
    short = Truncator(text).chars(SHORT)
    if short == text:
        return text or NOTHING
    return format_html('<span title="{}">{}</span>', text, short)
