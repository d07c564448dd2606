"""Offers the operations of a circuit as buttons, performs them, and words the results."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from django.contrib import messages
from django.db import Error
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..core.status import Mode
from ..exceptions import InvalidInputError
from ..redaction import describe
from ..reports.readings import Reading
from ..steering.operations import OPERATIONS, Result, offered

_LEVELS: Final[dict[Result, int]] = {
    "changed": messages.SUCCESS,
    "unchanged": messages.INFO,
    "refused": messages.WARNING,
    "failed": messages.ERROR,
}

#: The most circuits that a sentence names, and the most reasons with a message of their own.
NAMED: Final = 20
REASONS: Final = 10


class Report(NamedTuple):
    """The result of an operation on one circuit, as the admin shows it.

    Args:
        name: The circuit.
        level: A level of Django's messages; ``WARNING`` or above means that it did not work.
        text: One sentence about the result.
        reason: Why it did not work, in words that do not name this circuit.
    """

    name: str
    level: int
    text: str
    reason: str = ""


class Button(NamedTuple):
    """An operation that a circuit's page offers."""

    key: str
    label: Any
    help: Any
    is_suggested: bool = False


def buttons(reading: Reading, suggested: str = "") -> Iterator[Button]:
    """Yield a button for each operation that would have an effect on a circuit.

    Args:
        suggested: The key of the suggested operation, if any.
    """
    for key, operation in offered().items():
        is_in_vain = key == "probe" and _refuses_a_probe(reading)
        if operation.has_effect(reading.circuit) and not is_in_vain:
            text = operation.help_for(reading.circuit)
            yield Button(key, operation.label, text, key == suggested)


def _refuses_a_probe(reading: Reading) -> bool:
    """Return whether a circuit would refuse a probe, as it would any other call."""
    mode = reading.circuit.mode
    return mode == Mode.FORCED_OPEN or (mode == Mode.AUTOMATIC and bool(reading.retry_in))


# Doing it ----------------------------------------------------------------------------------------


def steer(
    name: str,
    key: str,
    *,
    actor: str,
    seen: Mode | None = None,
    **asked: Any,
) -> Report:
    """Perform an operation on a circuit.

    Args:
        seen: The mode that the circuit was in when the actor saw it.
        **asked: What else the operation takes, such as the actor's ``reason`` for the history, and
            for how many ``seconds``.

    Raises:
        ModeChangedError: The circuit is in another mode by now; nothing was done.
    """
    operation = OPERATIONS[key]
    try:
        done = operation.perform(name, actor=actor, seen=seen, **asked)
        return Report(name, _LEVELS[done.result], done.message, done.reason)
    except InvalidInputError as error:
        sentence = error.worded(_)
        return Report(name, messages.WARNING, sentence, sentence)
    except Error as error:
        text = _("%(name)s: nothing was done, the circuits' database refused it: %(error)s")
        why = describe(error)
        return Report(name, messages.ERROR, text % {"name": name, "error": why}, why)


def outdated(name: str) -> Report:
    """Return the report on a circuit whose mode somebody else has changed meanwhile."""
    text = _("%(name)s: nothing was done, its mode has changed meanwhile.") % {"name": name}
    return Report(name, messages.WARNING, text, _("the mode has changed meanwhile"))


# After -------------------------------------------------------------------------------------------


class Message(NamedTuple):
    """One message on the page after an operation."""

    level: int
    text: str


def summarised(key: str, reports: Sequence[Report], left: int = 0) -> list[Message]:
    """Return messages that name the circuits that failed, by reason, and count the others.

    Args:
        left: The number of circuits that there was no time for.
    """
    if len(reports) == 1 and not left:
        return [Message(reports[0].level, reports[0].text)]
    failed: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for each in reports:
        if each.level >= messages.WARNING:
            failed[each.level, each.reason].append(each.name)
    return [*_failures(failed), *_counted(key, reports), *([_unreached(left)] if left else [])]


def _failures(failed: dict[tuple[int, str], list[str]]) -> Iterator[Message]:
    """Yield a message for each reason, the most frequent first."""
    ordered = sorted(failed.items(), key=lambda item: -len(item[1]))
    for (level, reason), names in ordered[:REASONS]:
        values = {"names": listed(names), "reason": reason.rstrip(".")}
        yield Message(level, _("Not done for %(names)s: %(reason)s.") % values)
    rest = [name for _key, names in ordered[REASONS:] for name in names]
    if rest:
        text = _("Not done for other reasons, for %(names)s.")
        yield Message(messages.ERROR, text % {"names": listed(rest)})


def listed(names: Sequence[str]) -> str:
    """Return the first names as a list in a sentence, and how many more there are."""
    named, more = ", ".join(names[:NAMED]), len(names) - NAMED
    if more <= 0:
        return named
    return ngettext("%(named)s and %(more)d more", "%(named)s and %(more)d more", more) % {
        "named": named,
        "more": more,
    }


def _counted(key: str, reports: Iterable[Report]) -> Iterator[Message]:
    counts = Counter(each.level for each in reports)
    words = {
        messages.SUCCESS: ngettext("%d done", "%d done", counts[messages.SUCCESS]),
        messages.INFO: ngettext("%d as before", "%d as before", counts[messages.INFO]),
    }
    parts = [text % counts[level] for level, text in words.items() if counts[level]]
    if parts:
        level = messages.SUCCESS if counts[messages.SUCCESS] else messages.INFO
        yield Message(level, f"{OPERATIONS[key].label}: {', '.join(parts)}.")


def _unreached(number: int) -> Message:
    text = ngettext(
        "There was no time left for %d circuit. Confirm once more to go on with it.",
        "There was no time left for %d circuits. Confirm once more to go on with them.",
        number,
    )
    return Message(messages.WARNING, text % number)
