"""What the admin offers for steering a circuit, and what it answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
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

#: What the buttons and actions say, by the name of the operation.
LABELS: Final[dict[str, Any]] = {
    PROBE: gettext_lazy("Probe now"),
    **{key: operation.label for key, operation in OPERATIONS.items()},
}

#: How many circuits a sentence names, and how many reasons are told apart.
NAMED: Final = 20
REASONS: Final = 10


class Said(NamedTuple):
    """How it went with one circuit.

    Args:
        name: The circuit.
        level: A level of Django's messages; from a warning on, it did not work.
        text: A sentence.
        reason: Why it did not work, in words that hold for other circuits too.
    """

    name: str
    level: int
    text: str
    reason: str = ""


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
        has_end = is_now and operation.may_end
        text = _("It is so already: change how long it lasts.") if has_end else operation.help
        yield Button(key, operation.label, text, is_now and not has_end, is_way_back)


# Doing it ----------------------------------------------------------------------------------------


def steer(name: str, key: str, *, actor: str, reason: str = "", seconds: int | None = None) -> Said:
    """Do what a button says.

    Args:
        reason: Why, for the history.
        seconds: How long the mode is to last; None for until somebody sets it back.
    """
    try:
        return _probe(name) if key == PROBE else _operate(name, key, actor, reason, seconds)
    except Error as error:
        text = _("%(name)s: nothing was done, the circuits' database refused it: %(error)s")
        why = describe(error)
        return Said(name, messages.ERROR, text % {"name": name, "error": why}, why)


def _operate(name: str, key: str, actor: str, reason: str, seconds: int | None) -> Said:
    done = OPERATIONS[key].perform(name, actor=actor, words=reason, seconds=seconds)
    if done.refusal:
        return Said(name, messages.WARNING, done.message, done.refusal)
    return Said(name, messages.SUCCESS if done.changed else messages.INFO, done.message)


def _probe(name: str) -> Said:
    try:
        result = probe(name)
    except InvalidInputError as error:
        said = error.worded(_)
        return Said(name, messages.WARNING, said, said)
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
    # How long to wait is another time for each circuit.
    reason = _("refused, its circuit is open") if result.outcome == "refused" else result.detail
    return Said(result.name, level, text % said, reason)


# After -------------------------------------------------------------------------------------------


class Message(NamedTuple):
    """One message on the page after an operation."""

    level: int
    text: str


def summarised(key: str, said: Sequence[Said], left: int = 0) -> list[Message]:
    """Return what did not work, by reason and by name, and how many of the others there are.

    Args:
        left: For how many circuits there was no time.
    """
    if len(said) == 1 and not left:
        return [Message(said[0].level, said[0].text)]
    failed: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for each in said:
        if each.level >= messages.WARNING:
            failed[each.level, each.reason].append(each.name)
    return [*_failures(failed), *_counted(key, said), *([_unreached(left)] if left else [])]


def _failures(failed: dict[tuple[int, str], list[str]]) -> Iterator[Message]:
    """Yield a message for each reason, those of most circuits first."""
    ordered = sorted(failed.items(), key=lambda item: -len(item[1]))
    for (level, reason), names in ordered[:REASONS]:
        values = {"names": listed(names), "reason": reason.rstrip(".")}
        yield Message(level, _("Not done for %(names)s: %(reason)s.") % values)
    rest = [name for _key, names in ordered[REASONS:] for name in names]
    if rest:
        text = _("Not done for other reasons, for %(names)s.")
        yield Message(messages.ERROR, text % {"names": listed(rest)})


def listed(names: Sequence[str]) -> str:
    """Return names in a sentence, and beyond a screenful how many more there are."""
    named, more = ", ".join(names[:NAMED]), len(names) - NAMED
    if more <= 0:
        return named
    return ngettext("%(named)s and %(more)d more", "%(named)s and %(more)d more", more) % {
        "named": named,
        "more": more,
    }


def _counted(key: str, said: Iterable[Said]) -> Iterator[Message]:
    counts = Counter(each.level for each in said)
    words = {
        messages.SUCCESS: ngettext("%d done", "%d done", counts[messages.SUCCESS]),
        messages.INFO: ngettext("%d as before", "%d as before", counts[messages.INFO]),
    }
    parts = [text % counts[level] for level, text in words.items() if counts[level]]
    if parts:
        level = messages.SUCCESS if counts[messages.SUCCESS] else messages.INFO
        yield Message(level, f"{LABELS[key]}: {', '.join(parts)}.")


def _unreached(number: int) -> Message:
    text = ngettext(
        "There was no time left for %d circuit. Confirm once more to go on with it.",
        "There was no time left for %d circuits. Confirm once more to go on with them.",
        number,
    )
    return Message(messages.WARNING, text % number)
