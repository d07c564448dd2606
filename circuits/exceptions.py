"""What circuits raises. Messages are for people; the attributes are for code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

#: How much of a bad value a refusal repeats, in characters.
SHOWN: Final = 200


def gettext_noop(sentence: str) -> str:
    """Mark a sentence for translators. Django's own would bring all of Django along."""
    return sentence


class Worded:
    """An error that speaks English to developers, and to staff the language they read.

    Args:
        sentence: What it says, marked for translators, with places such as ``%(name)s``.
        values: What stands in those places; where there is nothing, a ``%`` is a ``%``.
    """

    sentence: str

    @property
    def values(self) -> Mapping[str, object]:
        return vars(self)

    def worded(self, translate: Callable[[str], str] = str) -> str:
        """Return the sentence as ``translate`` has it, with its values."""
        sentence = translate(self.sentence)
        return sentence % self.values if self.values else sentence

    def __str__(self) -> str:
        return self.worded()


class RemoteCallFailedException(Exception):  # noqa: N818 - a public name, fixed
    """A remote call failed, or was not made.

    Args:
        message: One sentence for people, free of secrets.
        name: The circuit's name.
        response: The answer that counted as a failure, where there was one.
    """

    def __init__(self, message: str, name: str = "", response: Any = None) -> None:
        super().__init__(message, name, response)
        self.name = name
        self.response = response

    def __str__(self) -> str:
        return str(self.args[0])


class CircuitOpenError(Worded, RemoteCallFailedException):
    """The call was not made, because the circuit refuses calls for now.

    Args:
        name: The circuit's name.
        retry_after: Seconds until a call may be let through again.
    """

    sentence = gettext_noop("Retry after %(retry_after).2f secs")

    def __init__(self, name: str, retry_after: float) -> None:
        # Not the parent's __init__: a refusal is the hot path of an outage, and these two
        # arguments are what pickle needs to rebuild it.
        Exception.__init__(self, name, retry_after)
        self.name = name
        self.retry_after = retry_after
        self.response = None


class CircuitBusyError(CircuitOpenError):
    """The call was not made, because this process has ``max_concurrent`` of them under way.

    It is a :class:`CircuitOpenError`, so that whoever handles refusals handles this one too.
    """

    sentence = gettext_noop(
        "Too many calls to %(name)s at once. Retry after %(retry_after).2f secs"
    )


class InvalidInputError(Worded, ValueError):
    """A name, URL or policy value cannot be used. The message names it and the fix."""

    values: Mapping[str, object] = {}

    def __init__(self, sentence: str, **values: object) -> None:
        self.sentence, self.values = sentence, values
        super().__init__(self.worded())


class TooManyCircuitsError(Worded, RuntimeError):
    """A new name was refused because the site already has ``MAX_CIRCUITS`` circuits.

    Args:
        name: The name that was refused.
        limit: ``MAX_CIRCUITS``.
    """

    sentence = gettext_noop(
        "The circuit %(name)r was not made: there are %(limit)d already. "
        "Use fewer names, or raise CIRCUITS['MAX_CIRCUITS']."
    )

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(name, limit)
        self.name = name
        self.limit = limit


def shown(value: object) -> str:
    """Return a bad value as a refusal repeats it: the beginning of a long one."""
    try:
        text = repr(value)
    except Exception:  # Python prints no number of more than 4,300 digits, for one
        return f"an unprintable {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
