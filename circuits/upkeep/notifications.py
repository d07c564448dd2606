"""Notifies people by mail and by webhook that a circuit opened or closed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from traceback import format_tb
from typing import Any, Final

import requests
from django.core.mail import send_mail
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .. import conf, once_a_minute
from ..calls.bounded import BoundedAdapter
from ..calls.sessions import PlainSession
from ..moments import aware
from ..reports import incidents
from ..reports.account import Account, cause_words
from ..reports.readings import reading_of
from ..reports.words import local_time
from ..storage.database import DatabaseStore
from . import outbox
from .outbox import Notice

logger = logging.getLogger("circuits")

#: Seconds that a request to the webhook may take.
WEBHOOK_TIMEOUT: Final = 10.0


def tell_all(store: DatabaseStore) -> int:
    """Send the notices that are due; return how many of them all channels have received.

    A channel that fails is logged and tried again at a later pass. The others do not get the notice
    twice.
    """
    return sum(_tell(store, notice) for notice in outbox.claim(store))


def _tell(store: DatabaseStore, notice: Notice) -> bool:
    complete = True
    for name, send in _channels():
        if name in notice.delivered_to:
            continue
        try:
            send(notice)
        except Exception as error:
            logger.warning(
                "Could not tell of %s by %s: %s", notice.circuit.name, name, _kind(error)
            )
            _log_unforeseen(error)
            complete = False
        else:
            outbox.note_delivered(store, notice, name)
    (outbox.note_told if complete else outbox.put_off)(store, notice)
    return complete


def _kind(error: Exception) -> str:
    """Return the type of an error, without its message, which may hold the webhook's address."""
    response = getattr(error, "response", None)
    kind = type(error).__name__
    return kind if response is None else f"{kind} (HTTP {response.status_code})"


def _log_unforeseen(error: Exception) -> None:
    """Log where an error was raised, unless it is an OSError, as all faults of a network are."""
    if not isinstance(error, OSError) and once_a_minute.is_due("notice"):
        where = "".join(format_tb(error.__traceback__))
        logger.error("An unforeseen %s was raised here:\n%s", type(error).__name__, where)


def _channels() -> Iterator[tuple[str, Callable[[Notice], None]]]:
    notify = conf.get().notify
    if notify.emails:
        yield "mail", _send_mail
    if notify.webhook:
        yield "webhook", _post


def _send_mail(notice: Notice) -> None:
    message = text(notice, account_of(notice))
    send_mail(subject(notice), message, None, list(conf.get().notify.emails))


def _post(notice: Notice) -> None:
    with PlainSession(BoundedAdapter()) as session:
        answer = session.post(
            conf.get().notify.webhook,
            json=payload(notice, account_of(notice)),
            timeout=WEBHOOK_TIMEOUT,
            allow_redirects=False,
            stream=True,  # so that the body of the answer is not read
        )
        answer.close()
    if not 200 <= answer.status_code < 300:
        # A redirect is a failure too: the hook has moved, or stands behind a login page.
        raise requests.HTTPError(f"HTTP {answer.status_code}", response=answer)


def subject(notice: Notice) -> str:
    """Return the subject: one line with the circuit's state after the changes."""
    last = notice.changes[-1]
    return _("Circuit %(name)s is %(state)s") % {
        "name": notice.circuit.name,
        "state": last.get_to_state_display(),
    }


def text(notice: Notice, account: Account | None) -> str:
    """Return the message: the subject, the account with its link, then a line for each change."""
    number = len(notice.changes)
    head = ngettext("%(subject)s.", "%(subject)s, after %(number)d changes.", number)
    lines = [head % {"subject": subject(notice), "number": number}, ""]
    if account is not None:
        lines += [*account.lines(), ""]
    for change in notice.changes:
        at = local_time(aware(change.at))
        state = change.get_to_state_display()
        lines.append(f"{at:%Y-%m-%d %H:%M:%S %Z}  {state}: {cause_words(change)}")
    return "\n".join(lines)


def payload(notice: Notice, account: Account | None) -> dict[str, Any]:
    """Return the JSON that the webhook receives. Chat services show its ``text``."""
    return {
        "circuit": notice.circuit.name,
        "state": notice.changes[-1].to_state,
        "text": text(notice, account),
        "incident": None if account is None else account.values(),
        "changes": [
            {
                "generation": change.generation,
                "from_state": change.from_state,
                "to_state": change.to_state,
                "reason": change.reason,
                "detail": change.detail,
                "actor": change.actor,
                "at": aware(change.at).isoformat(),
            }
            for change in notice.changes
        ],
    }


def account_of(notice: Notice) -> Account | None:
    """Return the account of the incident that the last change belongs to, if it is kept."""
    incident = incidents.one(notice.circuit, notice.changes[-1].generation)
    return None if incident is None else Account(incident, reading_of(notice.circuit))
