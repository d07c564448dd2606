"""What the admin offers for steering a circuit, and what it answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from django.contrib import messages
from django.db import Error
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .exceptions import InvalidInputError
from .machine import Mode
from .models import Circuit
from .operations import OPERATIONS
from .probe import ProbeResult, probe
from .redaction import describe

PROBE: Final = "probe"

#: What the buttons and actions say, by the key they are posted with.
LABELS: Final[dict[str, Any]] = {
    PROBE: gettext_lazy("Probe now"),
    **{key: operation.label for key, operation in OPERATIONS.items()},
}

#: How many circuits an answer names, what went wrong first.
NAMED: Final = 10


class Said(NamedTuple):
    """How it went with one circuit: a level of Django's messages, and a sentence."""

    level: int
    text: str


class Button(NamedTuple):
    """A way to steer a circuit, as its page offers it."""

    key: str
    label: Any
    help: Any
    is_pointless: bool = False
    is_suggested: bool = False


def buttons(circuit: Circuit) -> Iterator[Button]:
    """Yield what can be done with a circuit."""
    url = circuit.probe_url
    text = _("Make one call to %(url)s.") % {"url": url} if url else _("It has no probe URL yet.")
    yield Button(PROBE, LABELS[PROBE], text, is_pointless=not url)
    for key, operation in OPERATIONS.items():
        is_now = operation.mode == circuit.mode
        is_way_back = operation.mode is Mode.AUTOMATIC and not is_now
        yield Button(key, operation.label, operation.help, is_now, is_way_back)


def steer(name: str, key: str, actor: str) -> Said:
    """Do what a button says."""
    try:
        return _probe(name) if key == PROBE else _operate(name, key, actor)
    except Error as error:
        text = _("%(name)s: nothing was done, the circuits' database refused it: %(error)s")
        return Said(messages.ERROR, text % {"name": name, "error": describe(error)})


def _operate(name: str, key: str, actor: str) -> Said:
    done = OPERATIONS[key].perform(name, actor=actor)
    return Said(messages.SUCCESS if done.changed else messages.INFO, done.message)


def _probe(name: str) -> Said:
    try:
        result = probe(name)
    except InvalidInputError as error:
        return Said(messages.WARNING, error.worded(_))
    return _probed(result)


def _probed(result: ProbeResult) -> Said:
    level, text = {
        "passed": (
            messages.SUCCESS,
            _("Probe of %(name)s passed: HTTP %(status)s in %(milliseconds)d ms."),
        ),
        "failed": (messages.ERROR, _("Probe of %(name)s failed: %(detail)s")),
        "refused": (messages.WARNING, _("Probe of %(name)s refused: %(detail)s")),
    }[result.outcome]
    said = {
        "name": result.name,
        "status": result.status,
        "milliseconds": round(result.seconds * 1000),
        "detail": result.detail,
    }
    return Said(level, text % said)


# Many at once ------------------------------------------------------------------------------------


def out_of_time(left: int) -> Said:
    """Say that some circuits of a selection were not probed."""
    text = ngettext(
        "%d circuit was not probed: the others took too long. Probe it by itself.",
        "%d circuits were not probed: the others took too long. Probe fewer at once.",
        left,
    )
    return Said(messages.WARNING, text % left)


def summarised(said: Iterable[Said]) -> list[Said]:
    """Return what went wrong first, and beyond a screenful only how many went how."""
    ordered = sorted(said, key=lambda each: -each.level)
    named, rest = ordered[:NAMED], ordered[NAMED:]
    return [*named, _counted(rest)] if rest else named


def _counted(said: list[Said]) -> Said:
    words = {
        messages.ERROR: _("%d failed"),
        messages.WARNING: _("%d refused"),
        messages.SUCCESS: _("%d done"),
        messages.INFO: _("%d unchanged"),
    }
    counts = Counter(each.level for each in said)
    parts = ", ".join(words[level] % count for level, count in counts.items())
    return Said(
        said[0].level, _("And %(count)d more: %(parts)s.") % {"count": len(said), "parts": parts}
    )
