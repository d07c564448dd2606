"""Tells people, by mail and by a webhook, that a circuit opened or closed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

import requests
from django.core.mail import send_mail
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from . import conf, outbox
from .display import local_time
from .outbox import Notice
from .store import DatabaseStore

logger = logging.getLogger("circuits")

#: Seconds to wait for a webhook.
WEBHOOK_TIMEOUT: Final = 10.0


def tell_all(store: DatabaseStore) -> int:
    """Tell what is to be told; return how many notices went out everywhere.

    A channel that fails is logged and tried again at a later pass; the others are not told twice.
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
            # Its message may hold the webhook's address, which is a secret.
            kind = type(error).__name__
            logger.warning("Could not tell of %s by %s: %s", notice.circuit.name, name, kind)
            complete = False
        else:
            outbox.note_delivered(store, notice, name)
    (outbox.note_told if complete else outbox.put_off)(store, notice)
    return complete


def _channels() -> Iterator[tuple[str, Callable[[Notice], None]]]:
    notify = conf.get().notify
    if notify.emails:
        yield "mail", _send_mail
    if notify.webhook:
        yield "webhook", _post


def _send_mail(notice: Notice) -> None:
    send_mail(subject(notice), text(notice), None, list(conf.get().notify.emails))


def _post(notice: Notice) -> None:
    answer = requests.post(
        conf.get().notify.webhook,
        json=payload(notice),
        timeout=WEBHOOK_TIMEOUT,
        allow_redirects=False,
    )
    answer.raise_for_status()


def subject(notice: Notice) -> str:
    """Return one line that says how the circuit stands after the changes."""
    last = notice.changes[-1]
    return _("Circuit %(name)s is %(state)s") % {
        "name": notice.circuit.name,
        "state": last.get_to_state_display(),
    }


def text(notice: Notice) -> str:
    """Return the message: the subject, then a line for each change."""
    number = len(notice.changes)
    head = ngettext("%(subject)s.", "%(subject)s, after %(number)d changes.", number)
    lines = [head % {"subject": subject(notice), "number": number}, ""]
    for change in notice.changes:
        why = ": ".join(filter(None, [change.get_reason_display(), change.detail]))
        who = f" ({change.actor})" if change.actor else ""
        at = local_time(change.at)
        lines.append(f"{at:%Y-%m-%d %H:%M:%S %Z}  {change.get_to_state_display()}: {why}{who}")
    return "\n".join(lines)


def payload(notice: Notice) -> dict[str, Any]:
    """Return what a webhook receives. ``text`` is what chat services show."""
    return {
        "circuit": notice.circuit.name,
        "state": notice.changes[-1].to_state,
        "text": text(notice),
        "changes": [
            {
                "generation": change.generation,
                "from_state": change.from_state,
                "to_state": change.to_state,
                "reason": change.reason,
                "detail": change.detail,
                "actor": change.actor,
                "at": change.at.isoformat(),
            }
            for change in notice.changes
        ],
    }
