"""The account of an incident that goes into a mail or to a webhook."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from ..core.status import State
from ..links import incident_link
from ..models import Transition
from ..moments import aware, to_seconds
from .incidents import Incident
from .readings import Reading
from .verdict import enforced, failed_trials_words, refused_words, verdict
from .words import duration, moment_of_day


@dataclass(frozen=True, slots=True)
class Account:
    """An incident, together with the present state of its circuit."""

    incident: Incident
    reading: Reading

    @property
    def link(self) -> str:
        """The URL of the incident's page; empty without ``SITE_URL``."""
        opening = self.incident.opening
        return incident_link(opening.circuit_id, opening.generation)

    @property
    def is_going_on(self) -> bool:
        """Whether the incident lasted when the circuit was read."""
        return not self.incident.is_over and self.reading.circuit.state != State.CLOSED

    def lines(self) -> Iterator[str]:
        """Yield lines of text: how long, why, when the next trial comes, and the link."""
        yield f"{self._course()}."
        yield _("Why: %(cause)s") % {"cause": cause_words(self.incident.opening)}
        retry_in = self.reading.retry_in if self.is_going_on else None
        if retry_in is not None:
            yield _("Tried next in %(duration)s.") % {"duration": duration(retry_in)}
        if self.link:
            yield self.link

    def _course(self) -> str:
        """Return a sentence on the incident's duration, its failed trials and its refusals."""
        if self.is_going_on:
            return verdict(self.reading).text(self.reading.now)
        incident, now = self.incident, self.reading.now
        began, ended = incident.opening.at, (incident.last or incident.opening).at
        seconds = to_seconds(ended, until=now) - to_seconds(began, until=now)
        span = _("It was down from %(since)s to %(until)s (%(duration)s)") % {
            "since": moment_of_day(began, now),
            "until": moment_of_day(ended, now),
            "duration": duration(max(0.0, seconds)),
        }
        share = 0.0 if incident.is_observed else enforced(self.reading.circuit)
        refused = refused_words(incident.refusals, share)
        return ", ".join(filter(None, [span, failed_trials_words(incident.failed_trials), refused]))

    def values(self) -> dict[str, Any]:
        """Return the account for JSON: times in ISO 8601, durations in seconds."""
        incident, closing = self.incident, self.incident.closing
        retry_in = self.reading.retry_in if self.is_going_on else None
        return {
            "since": aware(incident.opening.at).isoformat(),
            "until": None if closing is None else aware(closing.at).isoformat(),
            "reason": incident.opening.reason,
            "detail": incident.opening.detail,
            "actor": incident.opening.actor,
            "failed_trials": incident.failed_trials,
            "refused": self.reading.refused if self.is_going_on else incident.refusals,
            "retry_in": None if retry_in is None else round(retry_in, 3),
            "url": self.link,
        }


def cause_words(change: Transition) -> str:
    """Return why a change happened: its reason, its detail, and the person who made it, if any."""
    cause = ": ".join(filter(None, [change.get_reason_display(), change.detail]))
    return f"{cause} ({change.actor})" if change.actor else cause
