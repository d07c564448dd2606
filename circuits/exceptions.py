"""The exceptions that circuits raises. Messages are for people, attributes for code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Final, NamedTuple

#: The most characters of a bad value that a message repeats.
SHOWN: Final = 200


def gettext_noop(sentence: str) -> str:
    """Mark a sentence for translation, without importing Django."""
    return sentence


class Worded:
    """An error whose message is English for developers and can be translated for staff.

    Args:
        sentence: The message, marked for translation, with placeholders such as ``%(name)s``.
        values: The values of the placeholders. If it is empty, a ``%`` stands for itself.
    """

    sentence: str

    @property
    def values(self) -> Mapping[str, object]:
        return vars(self)

    def worded(self, translate: Callable[[str], str] = str) -> str:
        """Return the message, translated by ``translate``, with its values filled in."""
        sentence = translate(self.sentence)
        return sentence % self.values if self.values else sentence

    def __str__(self) -> str:
        return self.worded()


class RemoteCallFailedException(Exception):  # noqa: N818 - a public name, fixed
    """A remote call failed, or was not made.

    Args:
        message: One sentence for people, free of secrets.
        name: The circuit's name.
        response: The answer that counted as a failure, if there was one.
    """

    def __init__(self, message: str, name: str = "", response: Any = None) -> None:
        # The response is left out of ``args``: Celery would store it in JSON as a mere text.
        super().__init__(message, name)
        self.name = name
        self.response = response

    def __str__(self) -> str:
        return str(self.args[0])


class Standing(NamedTuple):
    """The state of a circuit, as far as the process that refused a call knows it.

    It is taken from memory without asking a database, so it may lag a little behind.

    Args:
        state: ``closed``, ``open`` or ``half_open``; empty if the process knows nothing.
        mode: ``automatic``, ``forced_open``, ``forced_closed`` or ``observe``.
        since: When the circuit left closed, in UTC; None while it is closed.
        retry_at: When an open circuit lets a trial through, in UTC; None in any other state.
        failed_trials: How many trials have failed since ``since``.
        refused: How many calls all processes together have refused since ``since``.
        last_error: The error of the last failed call, without secrets.
        url: The address of the incident's page; empty without ``CIRCUITS["SITE_URL"]``.
    """

    state: str = ""
    mode: str = ""
    since: datetime | None = None
    retry_at: datetime | None = None
    failed_trials: int = 0
    refused: int = 0
    last_error: str = ""
    url: str = ""

    def sentence(self, name: str) -> str:
        """Return one sentence about the circuit for developers, in English."""
        about = f"Circuit {name}"
        if self.mode == "forced_open":
            about += ", forced open"
        if self.since is None:
            return about
        parts = [f"{about}: down since {self.since:%Y-%m-%d %H:%M:%S} UTC"]
        if self.failed_trials:
            parts.append(f"failed trials: {self.failed_trials:,}")
        parts.append(f"calls refused: {self.refused:,}")
        if self.retry_at is not None and self.mode != "forced_open":
            parts.append(f"next trial at {self.retry_at:%H:%M:%S} UTC")
        if self.last_error:
            parts.append(f"last error: {self.last_error}")
        return "; ".join(filter(None, [*parts, self.url]))


def _know_nothing(name: str) -> Standing:
    return Standing()


#: The function that returns a circuit's standing by its name; ``circuits.process`` replaces it.
_ask: Callable[[str], Standing] = _know_nothing


def ask_for_standing(ask: Callable[[str], Standing]) -> Callable[[str], Standing]:
    """Set the function that refusals ask for their circuit's standing; return the previous one.

    The function must not ask a database.
    """
    global _ask
    before, _ask = _ask, ask
    return before


class _Notes:
    """The ``__notes__`` of a refusal, made when they are first read, so that raising stays cheap.

    Once read or set, they are an attribute of the exception, which Python finds before this
    descriptor. :meth:`BaseException.add_note` needs that.
    """

    def __get__(self, refusal: CircuitOpenError | None, owner: type | None = None) -> Any:
        if refusal is None:
            return self
        notes = refusal.__dict__["__notes__"] = [refusal.standing.sentence(refusal.name)]
        return notes


class CircuitOpenError(Worded, RemoteCallFailedException):
    """The call was not made, because the circuit refuses calls for now.

    A traceback names the circuit below the message, and says how it stands.

    Args:
        name: The circuit's name.
        retry_after: Seconds until a call may be let through again.
        is_alone: Whether only this process cannot reach the remote. The circuit is then closed for
            the others, and this process tries again by itself.
    """

    __notes__: Any = _Notes()

    sentence = gettext_noop("Retry after %(retry_after).2f secs")
    response: Any = None
    alone = gettext_noop(
        "This process alone cannot reach %(name)s; the others can. "
        "Retry after %(retry_after).2f secs"
    )
    is_alone = False

    def __init__(self, name: str, retry_after: float, is_alone: bool = False) -> None:
        # Not the parent's __init__: a refusal is the hot path of an outage, and these two
        # arguments are what pickle needs to rebuild it.
        self.args = (name, retry_after)
        self.name = name
        self.retry_after = retry_after
        if is_alone:
            self.is_alone = True
            self.sentence = self.alone

    @cached_property
    def standing(self) -> Standing:
        """The circuit's state when this attribute was first read."""
        try:
            return _ask(self.name)
        except Exception:
            # Looking at an exception must not raise another one.
            return Standing()


class CircuitBusyError(CircuitOpenError):
    """The call was not made, because this process has ``max_concurrent`` calls under way.

    It is a :class:`CircuitOpenError`, so that code that handles refusals handles this one too.
    """

    sentence = gettext_noop(
        "Too many calls to %(name)s at once. Retry after %(retry_after).2f secs"
    )


class InjectedFailureError(Worded, ConnectionError):
    """The call was not made, because somebody injects faults into the calls of its circuit.

    It counts as a failure of the circuit, whatever exceptions the caller names.

    Args:
        name: The circuit's name.
        is_timeout: Whether the call was to be late, and its timeout has passed.
    """

    plain = gettext_noop("Injected failure: the call to %(name)s was not made.")
    late = gettext_noop("Injected delay: the call to %(name)s was not made before its timeout.")

    def __init__(self, name: str, is_timeout: bool = False) -> None:
        # Not the parent's __init__, which would take two arguments for an errno and its text.
        self.args = (name, is_timeout)
        self.name = name
        self.is_timeout = is_timeout
        self.sentence = self.late if is_timeout else self.plain


class InvalidInputError(Worded, ValueError):
    """A name, URL or policy value cannot be used. The message names it and the fix."""

    values: Mapping[str, object] = {}

    def __init__(self, sentence: str, **values: object) -> None:
        self.sentence, self.values = sentence, values
        super().__init__(self.worded())


class UnknownCircuitError(InvalidInputError):
    """A circuit cannot be steered, because none has that name.

    Args:
        name: The name that was given.
        near: Similar names of circuits that exist.
    """

    plain = gettext_noop("There is no circuit named %(name)s.")
    with_near = gettext_noop("There is no circuit named %(name)s. Did you mean %(near)s?")

    def __init__(self, name: str, near: Sequence[str] = ()) -> None:
        sentence = self.with_near if near else self.plain
        super().__init__(sentence, name=name, near=", ".join(near))
        self.args = (name, tuple(near))
        self.name = name
        self.near = tuple(near)


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


class ModeChangedError(Worded, RuntimeError):
    """Nothing was done, because the circuit's mode has changed since the actor saw it.

    Args:
        name: The circuit's name.
        seen: The mode that the actor saw.
        mode: The mode that the circuit is in now.
    """

    sentence = gettext_noop("%(name)s is %(mode)s by now, not %(seen)s; nothing was done.")

    def __init__(self, name: str, seen: str, mode: str) -> None:
        super().__init__(name, seen, mode)
        self.name = name
        self.seen = seen
        self.mode = mode


def shown(value: object) -> str:
    """Return a bad value for a message: its ``repr``, cut short if it is long."""
    try:
        text = repr(value)
    except Exception:  # for instance, Python prints no int of more than 4,300 digits
        return f"an unprintable {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
